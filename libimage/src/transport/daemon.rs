//! `docker-daemon:`, a Docker engine (or what speaks its API): images leave it as `docker save` writes them, and enter it as
//! `docker load` reads them.
//!
//! # References
//!
//! <https://docs.docker.com/reference/api/engine/version/v1.44/#tag/Image/operation/ImageGet>

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    TransportError,
    archive::{ArchiveSink, ArchiveSource},
    local::{self, Message},
    pieces::PieceReader,
    worker,
};
use crate::{
    archive::{Contents, Form, Pipe, TarWriter, Target, spool},
    context::{Context, Side},
    digest::Digest,
    error::{Error, ErrorKind},
    name::Name,
    registry::install_provider,
};

/// Bytes of an answer that are read: progress messages and errors.
const ANSWER_BYTES: usize = 1 << 20;
/// Bytes that travel at once.
const PIECE: usize = 256 << 10;

/// An engine.
#[derive(Debug, Clone)]
struct Engine {
    client: Client,
    base: String,
    address: String,
}

impl Engine {
    fn new(cx: &Context, side: Side) -> Result<Self, Error> {
        let address = cx.engine(side).to_owned();
        install_provider();
        // Neither time-outs nor proxies: an engine may think for minutes before it sends the first byte, and is near.
        let builder = Client::builder()
            .connect_timeout(cx.patience().connect)
            .http1_only()
            .no_proxy()
            .tls_certs_only([]);
        let (builder, base) = match address.split_once("://") {
            Some(("unix", path)) => (builder.unix_socket(path), "http://localhost".to_owned()),
            Some(("tcp" | "http", host)) if !host.is_empty() => {
                (builder, format!("http://{}", host.trim_end_matches('/')))
            }
            _ => return Err(TransportError::EngineAddress { address }.into()),
        };
        match builder.build() {
            Ok(client) => Ok(Self {
                client,
                base,
                address,
            }),
            Err(source) => Err(TransportError::Engine { address, source }.into()),
        }
    }

    fn failed(&self, source: reqwest::Error) -> Error {
        let (address, source) = (self.address.clone(), source.without_url());
        TransportError::Engine { address, source }.into()
    }

    async fn get(&self, path: &str) -> Result<Response, Error> {
        let request = self.client.get(format!("{}{path}", self.base));
        let response = request.send().await.map_err(|error| self.failed(error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let answer = self.answer(response).await?;
        Err(self.refuses(Some(status), &answer))
    }

    /// Reads an answer, or its beginning.
    async fn answer(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER_BYTES {
                break;
            }
        }
        Ok(answer)
    }

    fn refuses(&self, status: Option<StatusCode>, answer: &[u8]) -> Error {
        let said = serde_json::from_slice::<Value>(answer).ok();
        let said = said.and_then(|said| Some(said.get("message")?.as_str()?.to_owned()));
        let message = said.unwrap_or_else(|| shown(&String::from_utf8_lossy(answer)));
        TransportError::EngineRefuses {
            address: self.address.clone(),
            status: status.map(|status| status.as_u16()),
            message,
        }
        .into()
    }
}

/// Keeps messages of engines short and on one line.
fn shown(message: &str) -> String {
    const SHOWN: usize = 500;
    let message: String = message.trim().chars().take(SHOWN).collect();
    message.escape_debug().to_string()
}

/// Reads a name; what looks like an identifier is one.
pub(super) fn name_of(text: &str) -> Option<Name> {
    match text.parse::<Digest>() {
        Ok(_) => None,
        Err(_) => text.parse().ok(),
    }
}

/// Fetches an image. The engine sends its archive once, so it is kept in a nameless file.
pub(super) async fn open(cx: &Context, name: &str) -> Result<ArchiveSource, Error> {
    let engine = Engine::new(cx, Side::Source)?;
    // The engine would take a name without a tag for all of the repository's images.
    let wanted = name_of(name);
    let asked = wanted
        .as_ref()
        .map_or_else(|| name.to_owned(), Name::to_string);
    let response = engine.get(&format!("/images/{asked}/get")).await?;
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let (temporary, place) = (cx.temporary().to_owned(), engine.address.clone());
    let keeping = worker::run("keep archive", move || {
        let (mut reader, _) = PieceReader::new(receiver);
        let input = spool(&mut reader, &place, &temporary)?;
        // An identifier names the only image there is.
        let by_name = wanted.filter(|name| name.digest().is_none());
        match ArchiveSource::docker(input.clone(), by_name.as_ref(), None) {
            // The engine knows the image by another name.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                ArchiveSource::docker(input, None, None)
            }
            other => other,
        }
    });
    let mut body = response.bytes_stream();
    let asked_engine = engine.clone();
    let sending = async move {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| asked_engine.failed(error))?;
            // A thread that is gone has failed, and says why itself.
            if sender.send(Message::Piece(piece)).await.is_err() {
                return Ok(());
            }
        }
        drop(sender.send(Message::End).await);
        Ok::<(), Error>(())
    };
    let (sent, kept) = tokio::join!(sending, keeping);
    sent?;
    kept
}

/// Starts to load an image into an engine, which gets it as it comes.
pub(super) async fn create(cx: &Context, name: &str) -> Result<ArchiveSink, Error> {
    let Some(name) = name_of(name).filter(|name| name.digest().is_none()) else {
        let image = format!("docker-daemon:{name}");
        return Err(TransportError::OnlyForReading { image }.into());
    };
    let engine = Engine::new(cx, Side::Destination)?;
    // An engine that is not there is better known before the first byte.
    engine.get("/_ping").await?;
    let (sender, receiver) = mpsc::channel(local::WAITING);
    let (answer, answered) = oneshot::channel();
    let place = PathBuf::from(format!("docker-daemon:{name}"));
    tokio::spawn(async move {
        // Nobody waits for the answer if the copy has failed.
        drop(answer.send(load(&engine, receiver).await));
    });
    let temporary = cx.temporary().to_owned();
    let contents = worker::run("begin archive", move || {
        let pipe = EnginePipe {
            buffer: Vec::with_capacity(PIECE),
            sender,
            answered: Mutex::new(Some(answered)),
        };
        let writer = TarWriter::new(Target::Pipe(Box::new(pipe), place))?;
        Contents::new(Form::Docker, writer, temporary)
    });
    Ok(ArchiveSink::wrap(contents.await?, name))
}

/// Sends an archive, and reads what the engine says to it.
async fn load(engine: &Engine, receiver: mpsc::Receiver<Message>) -> Result<(), Error> {
    let pieces = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Message::Piece(piece)) => Some((Ok::<Bytes, io::Error>(piece), Some(receiver))),
            Some(Message::End) => None,
            // The request must not look complete.
            None => Some((Err(local::given_up().into()), None)),
        }
    });
    let request = engine
        .client
        .post(format!("{}/images/load?quiet=1", engine.base))
        .header("Content-Type", "application/x-tar")
        .body(reqwest::Body::wrap_stream(pieces));
    let response = request.send().await.map_err(|error| engine.failed(error))?;
    let status = response.status();
    let answer = engine.answer(response).await?;
    if !status.is_success() {
        return Err(engine.refuses(Some(status), &answer));
    }
    match complaint(&answer) {
        None => Ok(()),
        Some(message) => Err(TransportError::EngineRefuses {
            address: engine.address.clone(),
            status: None,
            message: shown(&message),
        }
        .into()),
    }
}

/// Finds an error among the messages of an answer that began with success.
fn complaint(answer: &[u8]) -> Option<String> {
    let messages = serde_json::Deserializer::from_slice(answer).into_iter::<Value>();
    for message in messages.map_while(Result::ok) {
        let error = message
            .pointer("/errorDetail/message")
            .or_else(|| message.get("error"));
        if let Some(error) = error.filter(|error| !error.is_null()) {
            let text = error.as_str().map(str::to_owned);
            return Some(text.unwrap_or_else(|| error.to_string()));
        }
    }
    None
}

/// The way into an engine.
struct EnginePipe {
    /// What is not sent yet: headers and padding are small.
    buffer: Vec<u8>,
    sender: mpsc::Sender<Message>,
    answered: Mutex<Option<oneshot::Receiver<Result<(), Error>>>>,
}

impl EnginePipe {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        match self.sender.blocking_send(Message::Piece(piece.into())) {
            Ok(()) => Ok(()),
            // The engine has answered before the end: that is no good news.
            Err(_) => self.outcome().and(Err(local::given_up().into())),
        }
    }

    fn outcome(&self) -> io::Result<()> {
        let answered = self
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let answer = answered.and_then(|answered| answered.blocking_recv().ok());
        answer.unwrap_or_else(|| Err(local::given_up()))?;
        Ok(())
    }
}

impl Write for EnginePipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        let count = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Pipe for EnginePipe {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.send()?;
        drop(self.sender.blocking_send(Message::End));
        self.outcome()
    }
}
