//! HTTP/1.1 POST to a server on this machine (RFC 9112), and to no other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest status line that is read, in bytes.
const STATUS_MAX: u64 = 1024;

/// A URL on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url<'a> {
    /// The host and port as they were given.
    authority: &'a str,
    /// What to connect to, one after the other.
    addresses: Vec<SocketAddr>,
    /// The path and query.
    target: &'a str,
}

impl<'a> Url<'a> {
    /// `http://127.0.0.1`, `http://[::1]` or `http://localhost`, with a port and a path, or without. A name is never looked up.
    fn parse(url: &'a str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let hosts = [("127.0.0.1", vec![v4]), ("[::1]", vec![v6]), ("localhost", vec![v4, v6])];
        let (port, hosts) =
            hosts.into_iter().find_map(|(name, hosts)| Some((authority.strip_prefix(name)?, hosts)))?;
        let port = match port.strip_prefix(':') {
            None => Some(80).filter(|_| port.is_empty())?,
            Some(digits) => Some(digits)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?
                .parse()
                .ok()?,
        };
        let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        is_plain.then(|| Self {
            authority,
            addresses: hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect(),
            target: if target.is_empty() { "/" } else { target },
        })
    }
}

/// Whether an alarm can post to that URL.
pub fn is_local(url: &str) -> bool {
    Url::parse(url).is_some()
}

/// Posts JSON; answers what the server said.
///
/// # Errors
/// Why that failed, for people.
pub fn post(url: &str, body: &[u8], limit: Duration) -> Result<String, String> {
    let parsed = Url::parse(url).ok_or_else(|| format!("{url} is not a URL on this machine"))?;
    let status = exchange(&parsed, body, limit).map_err(|error| format!("{url} was not reached: {error}"))?;
    let code = status.split(' ').nth(1).unwrap_or_default();
    match code.len() == 3 && code.starts_with('2') {
        true => Ok(format!("{url} answered {code}")),
        false => Err(format!("{url} answered {:?}", status.trim_end())),
    }
}

fn exchange(url: &Url<'_>, body: &[u8], limit: Duration) -> io::Result<String> {
    let end = Instant::now() + limit;
    // A timeout of zero is none at all to the standard library.
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in &url.addresses {
        stream = TcpStream::connect_timeout(address, left());
        if stream.is_ok() {
            break;
        }
    }
    let mut stream = stream?;
    stream.set_write_timeout(Some(left()))?;
    let mut message = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kmsfs\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        url.target,
        url.authority,
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    stream.write_all(&message)?;
    stream.set_read_timeout(Some(left()))?;
    let mut status = String::new();
    BufReader::new(stream.take(STATUS_MAX)).read_line(&mut status)?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn aud_4_only_this_machine_is_posted_to() {
        for url in
            ["http://127.0.0.1", "http://[::1]:8080/a?b=c", "http://localhost:9/", "http://127.0.0.1:80"]
        {
            assert!(is_local(url), "{url}");
        }
        for url in [
            "https://127.0.0.1/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1@example.com/",
            "http://127.0.0.1:80@example.com/",
            "http://192.0.2.1/",
            "http://127.0.0.1:/x",
            "http://127.0.0.1:+80/",
            "http://127.0.0.1:65536/",
            "http://127.0.0.1/a b",
            "http://127.0.0.1/a\r\nX: y",
            "127.0.0.1",
        ] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn aud_4_the_record_is_the_body_and_the_status_is_told() {
        for (answer, is_done) in
            [("HTTP/1.1 204 No Content\r\n\r\n", true), ("HTTP/1.1 500 No\r\n\r\n", false)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let url = format!("http://{}/hook", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut read = Vec::new();
                let mut part = [0; 1024];
                while !read.ends_with(b"{}\n") {
                    let len = stream.read(&mut part).unwrap();
                    assert!(len > 0);
                    read.extend_from_slice(&part[..len]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(read).unwrap()
            });
            assert_eq!(post(&url, b"{}\n", Duration::from_secs(5)).is_ok(), is_done);
            let read = server.join().unwrap();
            assert!(read.starts_with("POST /hook HTTP/1.1\r\nHost: 127.0.0.1:"), "{read}");
            assert!(read.contains("\r\nContent-Length: 3\r\n"), "{read}");
        }
    }
}
