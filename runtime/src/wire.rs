//! PDUs over a socket, plain or TLS (PS3.8 9.3): bounded before they are read, one write each. Both sides of an association
//! use it; what the PDUs mean is theirs.

pub mod requestor;

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, PDU_HEADER_SIZE, PDV_HEADER_SIZE, PDataValueType,
    Pdu,
};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf, sink,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

/// Largest PDU we take and send: the value DCMTK and dcm4che reach at most; beyond, throughput no longer grows
/// (dicom-peers 2).
pub const MAX_PDU_BYTES: u32 = 131_072;
/// Largest A-ASSOCIATE-RQ or -AC: 128 contexts with a few transfer syntaxes each need 30 KiB.
pub const MAX_ASSOCIATE_BYTES: u32 = 64 << 10;
/// What is read to see that a PDU comes: whole small ones. The rest of a large one goes past the buffer, without a copy.
const LOOK_BYTES: usize = 8 << 10;
/// A peer that does not read what we send is gone.
const SEND: Duration = Duration::from_secs(30);
/// A peer that does not close within this will not (ARTIM, PS3.8 9.1.5).
const PART: Duration = Duration::from_secs(10);
/// An A-ABORT leaves at once, or the peer does not read.
const ABORT: Duration = Duration::from_secs(1);
/// Wait after a failed accept (out of file descriptors): a loop without it would take a whole core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Type of a P-DATA-TF PDU (PS3.8 9.3.5).
const P_DATA: u8 = 0x04;

/// Why a connection is of no more use.
#[derive(Debug, Error)]
pub enum WireError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the peer aborted")]
    Aborted,
    #[error("the peer was silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("a PDU of {0} bytes is larger than negotiated")]
    PduTooLarge(u32),
    #[error("a PDU cannot be read")]
    BadPdu,
    #[error("a PDU that does not belong here")]
    UnexpectedPdu,
    #[error("the peer takes no PDU with data in it")]
    NoRoom,
}

/// The next connection of a listener, and whose it is.
pub async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => return (socket, peer.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection, secured or not.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Type, a reserved byte and length of a PDU (PS3.8 9.3.1).
type Head = [u8; PDU_HEADER_SIZE as usize];

fn body_bytes([_, _, a, b, c, d]: Head) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// Data, whose values are to be read one after the other: [`Wire::value`].
    Data(Values),
    Other(Pdu),
}

/// The values of a P-DATA-TF PDU that were not read yet.
#[derive(Debug)]
pub struct Values {
    /// Bytes, with the heads.
    left: u32,
}

/// What is said of a presentation data value before its bytes (PS3.8 9.3.5.1, annex E.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueHead {
    pub context: u8,
    pub kind: PDataValueType,
    pub is_last: bool,
    pub bytes: usize,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<Stream>,
    /// As long as the longest PDU so far; the one that came last is at its beginning.
    pdu: Vec<u8>,
    /// What is being sent.
    out: Vec<u8>,
    /// The largest PDU the peer takes; set once it was negotiated.
    largest: u32,
}

impl Wire {
    pub fn new(stream: Stream) -> Wire {
        // Without it a delayed acknowledgement costs 40 ms an image (scanner-side section 3.1). It cannot fail on an
        // open socket, and a closed one is found out by the first read.
        let _ = stream.socket().set_nodelay(true);
        let stream = BufReader::with_capacity(LOOK_BYTES, stream);
        Wire { stream, pdu: Vec::new(), out: Vec::new(), largest: MAX_PDU_BYTES }
    }

    /// Keeps to the largest PDU the peer has named; 0 stands for any (PS3.8 D.1).
    pub fn limit(&mut self, largest: u32) {
        self.largest = if largest == 0 { MAX_PDU_BYTES } else { largest.min(MAX_PDU_BYTES) };
    }

    /// The next PDU, of at most `limit` bytes and within `patience`.
    pub async fn receive(&mut self, limit: u32, patience: Duration) -> Result<Pdu, WireError> {
        timeout(patience, self.read(limit)).await.map_err(|_| WireError::Silent(patience))?
    }

    /// Whether a PDU has begun to come: waits for its first byte and leaves it. May be dropped at any time.
    pub async fn readable(&mut self) -> Result<(), WireError> {
        self.acknowledge();
        match self.stream.fill_buf().await?.is_empty() {
            true => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            false => Ok(()),
        }
    }

    /// A sender with Nagle's algorithm on holds its last bytes back until we acknowledge the ones before: do so at once, and
    /// say so again for every PDU, because the system forgets it.
    fn acknowledge(&self) {
        let _ = self.stream.get_ref().socket().set_quickack(true);
    }

    /// The same for who reads data by its values.
    pub async fn receive_values(
        &mut self,
        limit: u32,
        patience: Duration,
    ) -> Result<Received, WireError> {
        let read = async {
            let head = self.head(limit).await?;
            match head {
                [P_DATA, ..] => Ok(Received::Data(Values { left: body_bytes(head) })),
                _ => self.rest(head, limit).await.map(Received::Other),
            }
        };
        timeout(patience, read).await.map_err(|_| WireError::Silent(patience))?
    }

    /// The head of the next value of a PDU; `None` behind the last one. Its bytes are to be read first: [`Wire::append`].
    pub async fn value(
        &mut self,
        values: &mut Values,
        patience: Duration,
    ) -> Result<Option<ValueHead>, WireError> {
        if values.left == 0 {
            return Ok(None);
        }
        let mut head = [0; PDV_HEADER_SIZE as usize];
        let read = timeout(patience, self.stream.read_exact(&mut head));
        read.await.map_err(|_| WireError::Silent(patience))??;
        let [a, b, c, d, context, control] = head;
        // Counts context and control too (PS3.8 9.3.5.1).
        let length = u32::from_be_bytes([a, b, c, d]);
        let whole = length.checked_add(4).filter(|&whole| length >= 2 && whole <= values.left);
        values.left -= whole.ok_or(WireError::BadPdu)?;
        let kind = if control & 1 == 1 { PDataValueType::Command } else { PDataValueType::Data };
        let (is_last, bytes) = (control & 2 == 2, length as usize - 2);
        Ok(Some(ValueHead { context, kind, is_last, bytes }))
    }

    /// Reads the bytes of a value to the end of `to`, from the system straight to their place; without `to` nobody wants them.
    pub async fn append(
        &mut self,
        bytes: usize,
        to: Option<&mut Vec<u8>>,
        patience: Duration,
    ) -> Result<(), WireError> {
        let mut value = (&mut self.stream).take(bytes as u64);
        let read = async {
            match to {
                Some(to) => {
                    let end = to.len() + bytes;
                    to.reserve(bytes);
                    while to.len() < end && value.read_buf(to).await? > 0 {}
                    Ok(to.len() == end)
                }
                None => Ok(tokio::io::copy_buf(&mut value, &mut sink()).await? == bytes as u64),
            }
        };
        let whole: io::Result<bool> =
            timeout(patience, read).await.map_err(|_| WireError::Silent(patience))?;
        match whole? {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    async fn read(&mut self, limit: u32) -> Result<Pdu, WireError> {
        let head = self.head(limit).await?;
        self.rest(head, limit).await
    }

    async fn head(&mut self, limit: u32) -> Result<Head, WireError> {
        self.acknowledge();
        let mut head = Head::default();
        self.stream.read_exact(&mut head).await?;
        match body_bytes(head) {
            length if length > limit => Err(WireError::PduTooLarge(length)),
            _ => Ok(head),
        }
    }

    async fn rest(&mut self, head: Head, limit: u32) -> Result<Pdu, WireError> {
        let whole = head.len() + body_bytes(head) as usize;
        if self.pdu.len() < whole {
            self.pdu.resize(whole, 0);
        }
        let pdu = &mut self.pdu[..whole];
        pdu[..head.len()].copy_from_slice(&head);
        self.stream.read_exact(&mut pdu[head.len()..]).await?;
        match dicom_ul::pdu::read_pdu(&*pdu, limit, true) {
            Ok(Some(pdu)) => Ok(pdu),
            Ok(None) | Err(_) => Err(WireError::BadPdu),
        }
    }

    pub async fn send(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::with_capacity(512);
        dicom_ul::pdu::write_pdu(&mut bytes, pdu).map_err(|_| WireError::BadPdu)?;
        self.write(&bytes).await
    }

    /// A command set, and its data set if it has one, in fragments that fit the peer's largest PDU. A write for each: the
    /// command leaves with the beginning of its data set, and the peer is woken once for both.
    pub async fn send_message(
        &mut self,
        context: u8,
        command: &[u8],
        data_set: Option<&[u8]>,
    ) -> Result<(), WireError> {
        let room = self.largest.saturating_sub(PDV_HEADER_SIZE) as usize & !1;
        if room == 0 {
            return Err(WireError::NoRoom);
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let command = (PDataValueType::Command, command);
        for (kind, bytes) in
            [Some(command), data_set.map(|set| (PDataValueType::Data, set))].into_iter().flatten()
        {
            let count = bytes.len().div_ceil(room).max(1);
            for n in 0..count {
                let part = &bytes[n * room..bytes.len().min((n + 1) * room)];
                fragment(&mut out, context, &kind, part, n + 1 == count);
                if out.len() >= room {
                    self.write(&out).await?;
                    out.clear();
                }
            }
        }
        if !out.is_empty() {
            self.write(&out).await?;
        }
        self.out = out;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let written = timeout(SEND, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        Ok(written.await.map_err(|_| WireError::Silent(SEND))??)
    }

    /// A-ABORT from the provider; whether it arrives does not matter.
    pub async fn abort(&mut self) {
        let reason = AbortRQServiceProviderReason::ReasonNotSpecified;
        let source = AbortRQSource::ServiceProvider(reason);
        let _ = timeout(ABORT, self.send(&Pdu::AbortRQ { source })).await;
        self.close().await;
    }

    /// The end of an association that the peer has asked for: it closes the connection (PS3.8 9.2, state 13); who closes
    /// first may take its last PDU away with it.
    pub async fn part(&mut self) {
        let ended = async {
            let mut rest = [0; 1024];
            while self.stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
        };
        let _ = timeout(PART, ended).await;
        self.close().await;
    }

    /// Says that nothing more comes; a peer that is gone already does not mind.
    pub async fn close(&mut self) {
        let _ = timeout(SEND, self.stream.shutdown()).await;
    }
}

/// A P-DATA-TF PDU with one value (PS3.8 9.3.5, annex E.2): its length counts its context id and its control header.
fn fragment(out: &mut Vec<u8>, context: u8, kind: &PDataValueType, part: &[u8], last: bool) {
    let value_bytes = part.len() as u32 + 2;
    let control = u8::from(*kind == PDataValueType::Command) | u8::from(last) << 1;
    out.extend_from_slice(&[P_DATA, 0]);
    out.extend_from_slice(&(value_bytes + 4).to_be_bytes());
    out.extend_from_slice(&value_bytes.to_be_bytes());
    out.extend_from_slice(&[context, control]);
    out.extend_from_slice(part);
}
