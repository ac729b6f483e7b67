//! A server on loopback that gives away one file, well or badly. It ends after its last answer, or
//! after a while.

#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What one connection gets.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The file, or the part of it that is asked for.
    Good,
    /// The file from its start, whatever is asked for.
    NoRanges,
    /// The header for all that is asked for, so many bytes, and the end of the connection.
    CutAfter(usize),
    /// The header for all that is asked for, so many bytes, and silence.
    StallAfter(usize),
    /// A status without the file.
    Status(u16),
}

pub struct Server {
    /// `http://127.0.0.1:PORT/`
    pub url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    /// Gives `file` to one connection after another, as the answers say.
    pub fn of(file: &[u8], answers: &[Answer]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (file, answers) = (file.to_vec(), answers.to_vec());
        let thread = thread::spawn(move || {
            let end = Instant::now() + Duration::from_secs(30);
            let mut requests = Vec::new();
            for answer in answers {
                let Some(connection) = accept(&listener, end) else { break };
                requests.push(serve(connection, &file, answer));
            }
            requests
        });
        Server { url, thread }
    }

    /// The requests that came, each with its header.
    pub fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn accept(listener: &TcpListener, end: Instant) -> Option<TcpStream> {
    while Instant::now() < end {
        if let Ok((connection, _)) = listener.accept() {
            connection.set_nonblocking(false).unwrap();
            connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            return Some(connection);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

fn serve(mut connection: TcpStream, file: &[u8], answer: Answer) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let asked = request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let start = asked.filter(|_| !matches!(answer, Answer::NoRanges)).unwrap_or(0_usize);
    let rest = file.get(start..).unwrap_or_default();
    let status = match answer {
        Answer::Status(status) => status.to_string(),
        _ if start > 0 => {
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", file.len() - 1, file.len())
        }
        _ => "200 OK".to_owned(),
    };
    let (body, length) = match answer {
        Answer::Good | Answer::NoRanges => (rest, rest.len()),
        Answer::CutAfter(count) | Answer::StallAfter(count) => (&rest[..count], rest.len()),
        Answer::Status(_) => (&b"no"[..], 2),
    };
    // A client that has given up is no failure of the server.
    let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = connection.write_all(body);
    if matches!(answer, Answer::StallAfter(_)) {
        let _ = connection.read(&mut byte);
    }
    request
}
