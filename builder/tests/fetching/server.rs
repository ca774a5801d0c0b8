//! A server on the loopback interface that answers each request as a test says, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method and target, such as `GET /train.txt`.
    pub line: String,
    /// The header `Host`.
    pub host: String,
    /// The header `Proxy-Authorization`.
    pub authorization: String,
    /// The first byte that the header `Range` asks for; none without the header.
    pub start: Option<usize>,
}

/// A server that runs until the test ends.
pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server that sends the bytes that `answer` returns and closes the connection. `answer` is given the
    /// request and how many there were before it.
    pub fn start(answer: impl Fn(&Request, usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that hangs up, as one that has lost its patience does, ends nothing but its connection.
                let _ = serve(&stream.unwrap(), &seen, &answer);
            }
        });
        Self { address, requests }
    }

    /// Returns the address of a file.
    pub fn address(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns the requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns method and target of the requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    /// Returns the first byte that each request so far asked for.
    pub fn starts(&self) -> Vec<Option<usize>> {
        self.requests().into_iter().map(|request| request.start).collect()
    }
}

/// Answers the request of a connection.
fn serve(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: impl Fn(&Request, usize) -> Vec<u8>,
) -> std::io::Result<()> {
    let request = read(&mut BufReader::new(stream))?;
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    stream.write_all(&answer(&request, before))
}

/// Reads the head of a request.
fn read(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let start = |range: String| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    Ok(Request {
        line: lines[0].trim_end_matches(" HTTP/1.1").to_owned(),
        host: header("host").unwrap_or_default(),
        authorization: header("proxy-authorization").unwrap_or_default(),
        start: header("range").map(start),
    })
}

/// Returns an answer with a status, headers and a body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// Returns an answer with a whole file.
pub fn whole(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &format!("Content-Length: {}\r\n", body.len()), body)
}

/// Returns the answer of a server that knows ranges: the file from the byte that is asked for on.
pub fn ranged(body: &[u8], request: &Request) -> Vec<u8> {
    let Some(start) = request.start else { return whole(body) };
    let length = body.len();
    if start >= length {
        return answer("416 Range Not Satisfiable", &format!("Content-Range: bytes */{length}\r\n"), b"");
    }
    let rest = length - start;
    let headers = format!("Content-Range: bytes {start}-{}/{length}\r\nContent-Length: {rest}\r\n", length - 1);
    answer("206 Partial Content", &headers, &body[start..])
}

/// Cuts an answer `bytes` after the end of its head.
pub fn cut(mut answer: Vec<u8>, bytes: usize) -> Vec<u8> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    answer.truncate(head + bytes);
    answer
}
