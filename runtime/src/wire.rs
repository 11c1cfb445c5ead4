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
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf,
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

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<Stream>,
    /// As long as the longest PDU so far; the one that came last is at its beginning.
    pdu: Vec<u8>,
    /// The largest PDU the peer takes; set once it was negotiated.
    largest: u32,
}

impl Wire {
    pub fn new(stream: Stream) -> Wire {
        // Without it a delayed acknowledgement costs 40 ms an image (scanner-side section 3.1). It cannot fail on an
        // open socket, and a closed one is found out by the first read.
        let _ = stream.socket().set_nodelay(true);
        let stream = BufReader::with_capacity(LOOK_BYTES, stream);
        Wire { stream, pdu: Vec::new(), largest: MAX_PDU_BYTES }
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

    async fn read(&mut self, limit: u32) -> Result<Pdu, WireError> {
        self.acknowledge();
        let mut header = [0; PDU_HEADER_SIZE as usize];
        self.stream.read_exact(&mut header).await?;
        let [_, _, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > limit {
            return Err(WireError::PduTooLarge(length));
        }
        let whole = header.len() + length as usize;
        if self.pdu.len() < whole {
            self.pdu.resize(whole, 0);
        }
        let pdu = &mut self.pdu[..whole];
        pdu[..header.len()].copy_from_slice(&header);
        self.stream.read_exact(&mut pdu[header.len()..]).await?;
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

    /// A command set or data set in fragments that fit the peer's largest PDU.
    pub async fn send_data(
        &mut self,
        context: u8,
        kind: PDataValueType,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        let room = self.largest.saturating_sub(PDV_HEADER_SIZE) as usize & !1;
        if room == 0 {
            return Err(WireError::NoRoom);
        }
        let count = bytes.len().div_ceil(room).max(1);
        let mut pdu = Vec::with_capacity(room.min(bytes.len()) + 16);
        for n in 0..count {
            let part = &bytes[n * room..bytes.len().min((n + 1) * room)];
            // PS3.8 9.3.5 and annex E.2: a value's length counts its context id and its control header.
            let value_bytes = part.len() as u32 + 2;
            let command = u8::from(kind == PDataValueType::Command);
            let control = command | u8::from(n + 1 == count) << 1;
            pdu.clear();
            pdu.extend_from_slice(&[P_DATA, 0]);
            pdu.extend_from_slice(&(value_bytes + 4).to_be_bytes());
            pdu.extend_from_slice(&value_bytes.to_be_bytes());
            pdu.extend_from_slice(&[context, control]);
            pdu.extend_from_slice(part);
            self.write(&pdu).await?;
        }
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
