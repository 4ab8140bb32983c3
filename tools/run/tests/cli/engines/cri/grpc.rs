//! A call of a gRPC method: one message there, one back, over HTTP/2 on a socket of the file system.

use bytes::Bytes;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// How long a call may take: a pod starts on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a method failed.
#[derive(Debug)]
pub(super) struct Status {
    /// The number of gRPC's list; 4 is a deadline that has passed, 5 something that is not there.
    pub(super) code: u32,
    pub(super) message: String,
}

/// Whoever calls.
pub(super) struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self { socket, runtime }
    }

    /// Calls `/package.Service/Method`. What goes wrong below gRPC has a panic.
    #[track_caller]
    pub(super) fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>, Status> {
        let call = async { tokio::time::timeout(PATIENCE, self.unary(method, message)).await };
        let answer = self.runtime.block_on(call);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => panic!("{method}: {error}"),
            Err(_) => panic!("{method} takes longer than {PATIENCE:?}"),
        }
    }

    async fn unary(
        &self,
        method: &str,
        message: &[u8],
    ) -> Result<Result<Vec<u8>, Status>, Box<dyn std::error::Error>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let mut sender = sender.ready().await?;
        let request = http::Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = sender.send_request(request, false)?;
        body.send_data(framed(message), true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut answer = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        // A method that fails at once has said all at the beginning.
        let end = body.trailers().await?.unwrap_or(head.headers);
        connection.abort();
        let word = |name: &str| end.get(name).and_then(|value| value.to_str().ok());
        let code = word("grpc-status").unwrap_or_default().parse()?;
        if code != 0 {
            let message = word("grpc-message").unwrap_or_default().to_owned();
            return Ok(Err(Status { code, message }));
        }
        Ok(Ok(answer.split_off(PREFIX)))
    }
}

/// Before each message stand a byte, which says whether it is compressed, and its length.
const PREFIX: usize = 5;

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}
