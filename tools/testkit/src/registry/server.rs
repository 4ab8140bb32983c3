//! How are connections served, and stopped? One thread accepts, one serves each connection, all are joined at the end.

use super::deliver::{Delivery, deliver};
use super::fault::{Rules, Staged};
use super::log::{Log, Request};
use super::settings::Settings;
use super::storage::Storage;
use super::token::{self, Tokens};
use super::wire::{Answer, Head, read_body, read_head};
use super::{Auth, Fault, routes};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) auth: Auth,
    pub(super) address: SocketAddr,
    pub(super) storage: Mutex<Storage>,
    pub(super) tokens: Tokens,
    pub(super) rules: Rules,
    pub(super) log: Log,
    pub(super) settings: Mutex<Settings>,
    pub(super) connections: AtomicUsize,
    pub(super) most_at_once: AtomicUsize,
    at_once: AtomicUsize,
    pub(super) tls_probes: AtomicUsize,
    stopping: AtomicBool,
    stopped: (Mutex<bool>, Condvar),
    sockets: Mutex<HashMap<u64, TcpStream>>,
}

impl Shared {
    pub(super) fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage
            .lock()
            .expect("no connection panics with the lock")
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings
            .lock()
            .expect("no connection panics with the lock")
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the registry stops, or `limit` has passed.
    pub(super) fn wait(&self, limit: Option<Duration>) {
        let stopped = self
            .stopped
            .0
            .lock()
            .expect("no connection panics with the lock");
        match limit {
            Some(limit) => {
                let (_guard, _timeout) = self
                    .stopped
                    .1
                    .wait_timeout_while(stopped, limit, |stopped| !*stopped)
                    .expect("no connection panics with the lock");
            }
            None => {
                let _guard = self
                    .stopped
                    .1
                    .wait_while(stopped, |stopped| !*stopped)
                    .expect("no connection panics with the lock");
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.sockets
            .lock()
            .expect("no connection panics with the lock")
    }
}

/// The accepting thread, which owns those it starts.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(auth: Auth) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let shared = Arc::new(Shared {
            auth,
            address: listener.local_addr().expect("the listener is bound"),
            storage: Mutex::default(),
            tokens: Tokens::default(),
            rules: Rules::default(),
            log: Log::default(),
            settings: Mutex::default(),
            connections: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            tls_probes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            stopped: (Mutex::new(false), Condvar::new()),
            sockets: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Server {
            shared,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        *self
            .shared
            .stopped
            .0
            .lock()
            .expect("no connection panics with the lock") = true;
        self.shared.stopped.1.notify_all();
        // A connection of our own wakes the acceptor; it sees the flag and leaves.
        drop(TcpStream::connect(self.shared.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for (number, stream) in (0_u64..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        // A client that was gone before we looked is none of ours.
        let Ok(stream) = stream else { continue };
        let Ok(clone) = stream.try_clone() else {
            continue;
        };
        shared.sockets().insert(number, clone);
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            // A connection the client broke is an everyday event for a server.
            drop(serve(&stream, &shared));
            // Both descriptors are closed here, without a shutdown: that would send FIN before a scripted reset.
            shared.sockets().remove(&number);
        }));
        threads.retain(|thread| !thread.is_finished());
    }
    for socket in shared.sockets().values() {
        drop(socket.shutdown(Shutdown::Both));
    }
    for thread in threads {
        thread.join().expect("a connection's thread does not panic");
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    // A TLS client hello starts with record type 22; we speak plain HTTP and say so as Go's server does.
    if stream.peek(&mut first)? == 1 && first[0] == 0x16 {
        shared.tls_probes.fetch_add(1, Ordering::SeqCst);
        let mut stream = stream;
        return stream.write_all(
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
        );
    }
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    while let Some(head) = read_head(&mut reader)? {
        if head.header("expect").is_some() {
            let mut out = stream;
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let number = shared.log.arrived(request(&head, connection));
        let at_once = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let exchanged = exchange(stream, &mut reader, shared, &head, number);
        shared.at_once.fetch_sub(1, Ordering::SeqCst);
        if !exchanged? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one request's body and answers it. Returns whether the connection can be used again.
fn exchange(
    stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    shared: &Shared,
    head: &Head,
    number: u64,
) -> io::Result<bool> {
    let fault = shared.rules.choose(head);
    if let Some(fault) = fault.as_ref().filter(|fault| fault.cuts_upload()) {
        return cut(stream, reader, shared, (head, number), fault);
    }
    let body = read_body(reader, head, None)?;
    shared.log.received(number, body.len());
    if fault == Some(Fault::ExpireTokens) {
        shared.tokens.expire();
    }
    let mut staged = Staged::new(head.clone());
    if let Some(fault) = &fault {
        staged.before(fault);
    }
    let mut answer = match staged.early.take() {
        Some(answer) => answer,
        None => honest(shared, &staged.head, body),
    };
    let delivery = fault.map_or(Delivery::Whole, |fault| staged.after(fault, &mut answer));
    let bodiless = head.method == "HEAD";
    let planned = if bodiless {
        0
    } else {
        delivery.planned(answer.body.len())
    };
    shared.log.answered(number, answer.status, planned);
    let reusable = deliver(stream, shared, &answer, &delivery, bodiless)?;
    let close = head
        .header("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(reusable && !close)
}

/// Reads the beginning of a request's body, and breaks the connection.
fn cut(
    stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    shared: &Shared,
    (head, number): (&Head, u64),
    fault: &Fault,
) -> io::Result<bool> {
    let (Fault::ResetUpload(limit) | Fault::CutUpload(limit) | Fault::StallUpload(limit)) = fault
    else {
        return Ok(false);
    };
    let got = read_body(reader, head, Some(*limit))?;
    shared.log.received(number, got.len());
    match fault {
        Fault::CutUpload(_) => {
            let session = head.path.rsplit('/').next().unwrap_or_default();
            let repository = super::Registry::repository_of(&head.path).unwrap_or_default();
            if let Some(upload) = shared.storage().upload(repository, session) {
                upload.bytes.extend_from_slice(&got);
            }
        }
        Fault::StallUpload(_) => shared.wait(None),
        _ => {}
    }
    let answer = Answer::new(500);
    deliver(stream, shared, &answer, &Delivery::ResetAt(0), false).map(|_| false)
}

fn honest(shared: &Shared, head: &Head, body: Vec<u8>) -> Answer {
    if head.path == "/token" {
        return token::answer(&shared.auth, &shared.tokens, head, &body);
    }
    let refused = token::refuse(&shared.auth, &shared.tokens, &shared.host(), head);
    let mut answer = refused.unwrap_or_else(|| {
        routes::answer(&mut shared.storage(), &mut shared.settings(), head, body)
    });
    answer.set("Docker-Distribution-Api-Version", "registry/2.0");
    answer
}

fn request(head: &Head, connection: usize) -> Request {
    let scheme = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
    Request {
        method: head.method.clone(),
        path: head.path.clone(),
        query: head.query.clone(),
        status: 0,
        received: 0,
        sent: 0,
        authorization: head.header("authorization").map(scheme),
        range: head.header("range").map(str::to_owned),
        content_range: head.header("content-range").map(str::to_owned),
        connection,
        host: head.header("host").unwrap_or_default().to_owned(),
    }
}
