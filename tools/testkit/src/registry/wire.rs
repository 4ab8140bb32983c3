//! How does a request arrive and an answer leave? HTTP/1.1 as far as registries use it.
//!
//! # References
//! RFC 9112 (message framing), RFC 9110 section 14 (ranges).

use std::io::{self, BufRead, Read, Write};

/// A test client that sends longer heads or more headers than this is broken.
const HEAD_BYTES: u64 = 64 * 1024;

/// A request's first line and headers.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// Returns a header's value; names are compared without case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns all values of a header.
    pub(super) fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let wanted = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(wanted)
            .map(|(_, value)| value.as_str())
    }

    /// Returns a decoded parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).next()
    }

    /// Returns all decoded values of a parameter of the query.
    pub(super) fn parameters(&self, name: &str) -> impl Iterator<Item = String> {
        form_values(&self.query, name).into_iter()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

/// Returns all decoded values of a name in `a=b&c=d`.
pub(super) fn form_values(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
        .collect()
}

fn decode(value: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads a head; `None` where the client closed the connection between requests.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut limited = reader.take(HEAD_BYTES);
    let Some(first) = read_line(&mut limited)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a request line",
        ));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = Head {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: Vec::new(),
    };
    loop {
        let line = read_line(&mut limited)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some(head));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        head.headers
            .push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a request's body, but at most `limit` bytes where there is a limit.
pub(super) fn read_body(
    reader: &mut impl BufRead,
    head: &Head,
    limit: Option<u64>,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = limit.unwrap_or(u64::MAX);
    if !head.is_chunked() {
        let length: u64 = head
            .header("content-length")
            .map_or(Ok(0), str::parse)
            .unwrap_or(0);
        let wanted = length.min(limit);
        if reader.take(wanted).read_to_end(&mut body)? as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(body);
    }
    loop {
        let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let wanted = size.min(limit - body.len() as u64);
        if reader.take(wanted).read_to_end(&mut body)? as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if body.len() as u64 == limit {
            return Ok(body);
        }
        // The line's end after a chunk; after the last one, the (empty) trailer.
        read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Makes an error answer in the distribution specification's form.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Answer::new(status)
            .with("Content-Type", "application/json")
            .body(body.to_string().into_bytes())
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.set(name, value);
        self
    }

    pub(super) fn body(mut self, body: Vec<u8>) -> Answer {
        self.body = body;
        self
    }

    /// Replaces a header.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// Writes status line and headers; `length` is announced, `None` announces chunks.
    pub(super) fn write_head(&self, out: &mut impl Write, length: Option<usize>) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            _ if self.status == 204 => {}
            Some(length) => text.push_str(&format!("Content-Length: {length}\r\n")),
            None => text.push_str("Transfer-Encoding: chunked\r\n"),
        }
        text.push_str("\r\n");
        out.write_all(text.as_bytes())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::{read_body, read_head};

    #[test]
    fn requests_are_read_one_after_another() {
        let text = b"PUT /a?x=1&y=a%3Ab+c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 4\r\n\r\nwxyz";
        let mut reader = &text[..];
        let head = read_head(&mut reader).unwrap().unwrap();
        assert_eq!(
            (head.path.as_str(), head.parameter("y").as_deref()),
            ("/a", Some("a:b c"))
        );
        assert_eq!(read_body(&mut reader, &head, None).unwrap(), b"abcde");
        let head = read_head(&mut reader).unwrap().unwrap();
        assert_eq!(read_body(&mut reader, &head, Some(2)).unwrap(), b"wx");
        assert_eq!(reader, b"yz");
        assert!(read_head(&mut &b""[..]).unwrap().is_none());
        assert!(read_head(&mut &b"\x16\x03\x01"[..]).is_err());
    }
}
