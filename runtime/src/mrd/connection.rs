//! One connection of a scanner. What comes is read while results go out, so that neither side ever waits for the other to read.

use super::geometry::Stack;
use super::reply;
use super::server::Server;
use super::session::{Event, OrderError, Session, Whole};
use super::wire::{Image, Level, Message, Reader, WireError, close, log_line};
use crate::error::Move;
use crate::identity::JobId;
use crate::jobs::Work;
use crate::jobs::inline::{Answer, Inline};
use crate::share::Share;
use pipeline::{Refusal, SegmentError};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A connection that does not say what it wants holds a place for nothing.
const OPENING: Duration = Duration::from_secs(10);
/// Between two messages: a scanner connects when a measurement begins, and images come when it is over.
const BETWEEN: Duration = Duration::from_secs(30 * 60);
/// Within a message, and for what we send: who is silent so long is gone.
const WITHIN: Duration = Duration::from_secs(30);
/// A scanner that does not close after our CLOSE within this will not.
const PART: Duration = Duration::from_secs(10);
/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;
const KIB: usize = 1 << 10;

/// Why nothing more is read from a peer.
#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("no memory is left for an image")]
    Memory,
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the peer is gone")]
    Gone,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// Why a series has no results.
#[derive(Debug, Error)]
enum Failure {
    #[error("the series is refused: {0}")]
    Refused(#[from] Refusal),
    #[error("too many series wait")]
    Busy,
    #[error("no result within {0} ms")]
    Late(u64),
    #[error("the series could not be segmented; the log of Sagitta tells why")]
    Failed,
}

impl From<SegmentError> for Failure {
    fn from(error: SegmentError) -> Failure {
        match error {
            SegmentError::Refused(refusal) => refusal.into(),
            SegmentError::Net(error) => {
                tracing::error!("an engine failed: {error}; {}", Move::Sagitta.advice());
                Failure::Failed
            }
        }
    }
}

/// What the reading side asks of the writing side.
enum Order {
    Answer(Box<Ended>),
    Say(Level, String),
    Close,
}

/// A series, the memory it takes, and when its last image came.
struct Ended {
    whole: Whole,
    memory: Share,
    since: Instant,
}

/// What is asked of the worker about a series.
struct Asked {
    job: JobId,
    frame: Option<String>,
    since: Instant,
}

/// See the module.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) peer: IpAddr,
}

impl Connection {
    pub(super) async fn converse(self, socket: TcpStream) {
        let peer = self.peer;
        // It cannot fail on an open socket, and a closed one is found out by the first read.
        let _ = socket.set_nodelay(true);
        tracing::info!(%peer, "an MRD connection");
        let (read, write) = socket.into_split();
        // Bounded by the memory of what travels in it.
        let (orders, waiting) = unbounded_channel();
        // A peer that takes no more ends both sides.
        match tokio::try_join!(self.listen(read, orders), self.answer(write, waiting)) {
            Ok(_) => tracing::info!(%peer, "an MRD connection ended"),
            Err(error) => {
                let advice = Move::Peer.advice();
                tracing::warn!(%peer, "an MRD connection was cut off: {error}; {advice}");
            }
        }
    }

    /// Reads until the peer has said everything, or what nobody can read; then until it closes, so that nothing of ours is lost.
    async fn listen(
        &self,
        mut read: OwnedReadHalf,
        orders: UnboundedSender<Order>,
    ) -> io::Result<()> {
        if let Err(broken) = self.read(&mut read, &orders).await {
            let (peer, advice) = (self.peer, Move::Peer.advice());
            tracing::warn!(%peer, "MRD: {broken}; {advice}");
            if !matches!(broken, Broken::Gone | Broken::Io(_)) {
                // Who writes may be gone already: then there is nobody to tell.
                let _ = orders.send(Order::Say(Level::Error, broken.to_string()));
                let _ = orders.send(Order::Close);
            }
        }
        let rest = async {
            let mut rest = vec![0; READ_BYTES];
            while read.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
        };
        let parted = async {
            orders.closed().await;
            tokio::time::sleep(PART).await;
        };
        tokio::select! {
            () = rest => {}
            () = parted => {}
        }
        Ok(())
    }

    async fn read(
        &self,
        read: &mut OwnedReadHalf,
        orders: &UnboundedSender<Order>,
    ) -> Result<(), Broken> {
        let (mut reader, mut session) = (Reader::default(), Session::default());
        let mut buffer = vec![0; READ_BYTES];
        let (mut series, mut under_way) = (Share::default(), Share::default());
        loop {
            let patience = match (session.is_opening(), reader.is_within()) {
                (true, _) => OPENING,
                (false, true) => WITHIN,
                (false, false) => BETWEEN,
            };
            let came = timeout(patience, read.read(&mut buffer)).await;
            let bytes = came.map_err(|_| Broken::Silent(patience))??;
            if bytes == 0 {
                return Err(Broken::Gone);
            }
            reader.feed(&buffer[..bytes]);
            while let Some(message) = reader.message()? {
                let mut memory = std::mem::take(&mut under_way);
                match &message {
                    Message::Image(image) => {
                        reserve(&self.server, &mut memory, image.message_bytes())?;
                    }
                    _ => memory = Share::default(),
                }
                if self.order(session.on(message)?, &mut series, orders) {
                    return Ok(());
                }
                series.join(memory);
            }
            reserve(&self.server, &mut under_way, reader.wanted())?;
        }
    }

    /// Hands on what is to be done; whether the peer has said everything.
    fn order(
        &self,
        events: Vec<Event>,
        memory: &mut Share,
        orders: &UnboundedSender<Order>,
    ) -> bool {
        let mut closed = false;
        for event in events {
            let order = match event {
                Event::Series(whole) => {
                    let (memory, since) = (std::mem::take(memory), Instant::now());
                    Order::Answer(Box::new(Ended { whole, memory, since }))
                }
                Event::Skips => {
                    let text = "readouts and waveforms are left out: results are made of images";
                    Order::Say(Level::Warning, text.to_owned())
                }
                Event::Close => {
                    closed = true;
                    Order::Close
                }
            };
            // Who writes is gone: the connection is ending.
            let _ = orders.send(order);
        }
        closed
    }

    async fn answer(
        &self,
        mut write: OwnedWriteHalf,
        mut waiting: UnboundedReceiver<Order>,
    ) -> io::Result<()> {
        while let Some(order) = waiting.recv().await {
            match order {
                Order::Say(level, line) => send(&mut write, &log_line(level, &line)).await?,
                Order::Answer(ended) => self.series(&mut write, *ended).await?,
                Order::Close => {
                    send(&mut write, &close()).await?;
                    break;
                }
            }
        }
        // A peer that is gone already does not mind.
        let _ = write.shutdown().await;
        Ok(())
    }

    /// Sends what answers one series: the images as they came, where they are wanted; then results, or why there are none.
    async fn series(&self, write: &mut OwnedWriteHalf, ended: Ended) -> io::Result<()> {
        let Ended { whole, memory, since } = ended;
        let job = self.job(&whole.images);
        let frame = self.frame(&whole);
        let Whole { images, send_original, results, .. } = whole;
        let images = Arc::new(images);
        tracing::info!(%job, images = images.len(), "an MRD series is complete");
        if send_original {
            for image in images.iter() {
                send(write, &image.bytes()).await?;
            }
        }
        let deadline_ms = self.server.settings.deadline_ms;
        let left = Duration::from_millis(deadline_ms).saturating_sub(since.elapsed());
        let asked = Asked { job: job.clone(), frame, since };
        let segmented = timeout(left, self.results(asked, &images, results)).await;
        match segmented.unwrap_or(Err(Failure::Late(deadline_ms))) {
            Ok(results) => {
                for image in &results {
                    send(write, &image.bytes()).await?;
                }
                let ms = since.elapsed().as_millis() as u64;
                tracing::info!(%job, images = results.len(), ms, "an MRD series is answered");
            }
            Err(failure) => {
                tracing::warn!(%job, "an MRD series has no results: {failure}");
                send(write, &log_line(Level::Error, &failure.to_string())).await?;
            }
        }
        drop(memory);
        Ok(())
    }

    /// The name of study and frame of reference, where the scanner tells them.
    fn frame(&self, whole: &Whole) -> Option<String> {
        let (study, image) = whole.study.as_ref().zip(whole.images.first())?;
        Some(study.frame_of(&image.header, &self.server.key))
    }

    /// The name of a series outside this device.
    fn job(&self, images: &[Image]) -> JobId {
        let named = images.first().map(|image| (image.header.measurement(), image.header.series()));
        let (measurement, series) = named.unwrap_or_default();
        JobId::new(&self.server.key, &format!("mrd {measurement} {series}"))
    }

    async fn results(
        &self,
        asked: Asked,
        images: &Arc<Vec<Image>>,
        first: u16,
    ) -> Result<Vec<Image>, Failure> {
        let stacked = Arc::clone(images);
        let (answer, made) = oneshot::channel();
        let Asked { job: id, frame, since } = asked;
        let inline =
            |series| Inline { id, series, images: images.len() as u32, frame, since, answer };
        let stack = match blocking(move || Stack::of(&stacked)).await? {
            Ok(stack) => stack,
            Err(refusal) => {
                // The scanner is told now, others when the worker comes to it; where it has too much to do, by the log alone.
                let _ = self.server.queue.try_send(Work::Inline(inline(Err(refusal.clone()))));
                return Err(refusal.into());
            }
        };
        let places = reply::places(&stack);
        let inline = inline(Ok(stack.series));
        self.server.queue.try_send(Work::Inline(inline)).map_err(|error| match error {
            TrySendError::Full(_) => Failure::Busy,
            TrySendError::Disconnected(_) => Failure::Failed,
        })?;
        let answer: Arc<Answer> = made.await.map_err(|_| Failure::Failed)??;
        let images = Arc::clone(images);
        blocking(move || reply::results(&images, places, &answer, first)).await
    }
}

/// Work that takes milliseconds and more, beside the threads that others wait for.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|panic| {
        tracing::error!("MRD: {panic}; {}", Move::Sagitta.advice());
        Failure::Failed
    })
}

/// Takes memory for an image that has begun to come, as much as its header tells.
fn reserve(server: &Server, under_way: &mut Share, bytes: usize) -> Result<(), Broken> {
    match under_way.grow_to(bytes.div_ceil(KIB), &server.memory) {
        true => Ok(()),
        false => Err(Broken::Memory),
    }
}

async fn send(write: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    match timeout(WITHIN, write.write_all(bytes)).await {
        Ok(written) => written,
        Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrd::Settings;
    use crate::mrd::header::{DataType, HEADER_BYTES, ImageHeader};
    use tokio::net::TcpListener;

    /// Memory of the server under test.
    const LEFT_KIB: usize = 64;

    /// Everything that a server with so little memory says to these bytes, and the memory it has afterwards.
    async fn exchange(bytes: &[u8]) -> (Vec<u8>, usize) {
        let (queue, _waiting) = std::sync::mpsc::sync_channel(1);
        let server = Server::new(Settings::default(), Arc::default(), queue, b"key".to_vec());
        server.memory.forget_permits(server.memory.available_permits() - LEFT_KIB);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let serve = async {
            let (socket, peer) = listener.accept().await.unwrap();
            let connection = Connection { server: Arc::clone(&server), peer: peer.ip() };
            connection.converse(socket).await;
        };
        let (answer, ()) = tokio::join!(client, serve);
        (answer, server.memory.available_permits())
    }

    /// A configuration, a header, and an image of `columns` x 100 samples of 16 bits.
    fn session(columns: u16) -> Vec<u8> {
        let mut opened = vec![1, 0];
        opened.resize(2 + 1024, 0);
        opened.extend_from_slice(&[3, 0, 0, 0, 0, 0]);
        let header = ImageHeader::new([0; HEADER_BYTES]).in_colour().of_samples(DataType::I16);
        let header = header.of_plane(columns, 100, [1.0; 3]);
        let pixels = vec![0; usize::from(columns) * 100 * 2 * 3];
        opened.extend(Image { header, attributes: Vec::new(), pixels }.bytes());
        opened
    }

    #[tokio::test]
    async fn memory_is_taken_before_an_image_comes_and_given_back() {
        let small = [session(100), close()].concat();
        let (answer, left) = exchange(&small).await;
        let refusal = log_line(Level::Error, "the series is refused: the series holds no image");
        assert_eq!((answer, left), ([refusal, close()].concat(), LEFT_KIB));
        // Only its first bytes come.
        let large = &session(200)[..2000];
        let (answer, left) = exchange(large).await;
        let refusal = log_line(Level::Error, "no memory is left for an image");
        assert_eq!((answer, left), ([refusal, close()].concat(), LEFT_KIB));
    }
}
