//! A home with a server, and a client that speaks HTTP byte by byte.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a server, and one command, may take: what hangs must fail the test and not stop it.
const SERVER_SECONDS: &str = "300";
const COMMAND_SECONDS: &str = "60";
/// How long a client waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A home, in a directory of its own.
pub struct Home {
    pub temp: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn new() -> Self {
        let home = Self { temp: tempfile::tempdir().unwrap() };
        home.ok(&["setup", "--key-file", "key-file"]);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(name)
    }

    pub fn command(&self, seconds: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", seconds, env!("CARGO_BIN_EXE_kmsfs")]).args(arguments);
        command.current_dir(self.temp.path()).env("KMSFS_HOME", self.path("home")).env("TZ", "UTC");
        command.env_remove("KMSFS_LOG");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(COMMAND_SECONDS, arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "kmsfs {}: {}", arguments.join(" "), said.err);
        said.out
    }

    /// The records of the audit log.
    pub fn records(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.path("home/audit.log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The record of the request `id`.
    #[track_caller]
    pub fn record_of(&self, id: &str) -> Value {
        let found = self.records().into_iter().find(|record| record["requestID"] == id);
        found.unwrap_or_else(|| panic!("no record of {id}"))
    }

    /// Serves the home, without signatures.
    pub fn serve(self, arguments: &[&str]) -> Server {
        self.serve_signed(&[&["--no-auth"], arguments].concat())
    }

    /// Serves the home.
    pub fn serve_signed(self, arguments: &[&str]) -> Server {
        let has_address = arguments.iter().any(|argument| ["--listen", "--unix"].contains(argument));
        let address: &[&str] = if has_address { &[] } else { &["--listen", "127.0.0.1:0"] };
        let arguments = [&["serve"], address, arguments].concat();
        let mut process = self.command(SERVER_SECONDS, &arguments);
        let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some(url) = line.trim().strip_prefix("kmsfs: listening on ") else {
            let mut err = String::new();
            process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("{line}{err}");
        };
        let address = url.split_once("://").map_or(url, |(_, address)| address).to_owned();
        let (url, err) = (url.to_owned(), process.stderr.take().unwrap());
        Server { home: self, process, _out: out, err: Some(err), url, address }
    }
}

/// A server, ended when the test does.
pub struct Server {
    pub home: Home,
    process: Child,
    /// Held open: what it says more is heard by nobody.
    _out: BufReader<ChildStdout>,
    err: Option<ChildStderr>,
    pub url: String,
    pub address: String,
}

impl Server {
    /// Of a new home, without signatures.
    pub fn new() -> Self {
        Home::new().serve(&[])
    }

    pub fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::new(stream)
    }

    /// An operation over a connection of its own.
    pub fn call(&self, operation: &str, body: Value) -> Answer {
        self.connect().call(operation, &body)
    }

    /// An operation that must succeed.
    #[track_caller]
    pub fn ok(&self, operation: &str, body: Value) -> Value {
        let answer = self.call(operation, body);
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
        answer.json()
    }

    /// A new key; its id.
    pub fn new_key(&self) -> String {
        self.ok("CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// The value of a series of `/metrics`; absent is 0.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.connect().exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Sends a signal to the server itself.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The server's process: the child of `timeout`.
    pub fn pid(&self) -> u32 {
        let timeout = self.process.id();
        let children = fs::read_to_string(format!("/proc/{timeout}/task/{timeout}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// Waits for the end; the exit code and what it said to standard error.
    pub fn ended(&mut self) -> (i32, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < until, "the server did not end"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut err = String::new();
        self.err.take().unwrap().read_to_string(&mut err).unwrap();
        (status.code().unwrap_or(-1), err)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.process.try_wait() {
            return;
        }
        // timeout(1) passes it on.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// One server for all tests that do not stop it or wear it out. It ends, and its directory goes, when this process does.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(Shared::start)
}

/// A server that outlives tests.
pub struct Shared {
    server: Server,
    _guard: Child,
}

impl std::ops::Deref for Shared {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Shared {
    fn start() -> Self {
        let server = Server::new();
        // What is static is never dropped: this reads from a pipe that ends with the test's process.
        let mut guard = Command::new("sh");
        guard.args(["-c", "cat >/dev/null; kill \"$0\"; sleep 1; rm -rf -- \"$1\""]);
        guard.arg(server.process.id().to_string()).arg(server.home.temp.path());
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { server, _guard: guard }
    }
}

/// A client on one connection.
pub struct Client<S> {
    stream: BufReader<S>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body; an empty one is null.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    /// It is an error of that name, with exactly these members.
    #[track_caller]
    pub fn is_error(&self, status: u16, body: Value) {
        assert_eq!((self.status, self.json()), (status, body));
    }

    pub fn request_id(&self) -> &str {
        self.header("x-amzn-requestid").unwrap()
    }
}

/// The bytes of a request for an operation.
pub fn request(operation: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nuser-agent: test/1\r\ncontent-type: application/x-amz-json-1.1\r\n\
         x-amz-target: TrentService.{operation}\r\ncontent-length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl<S: Read + Write> Client<S> {
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub fn exchange(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        self.receive()
    }

    pub fn call(&mut self, operation: &str, body: &Value) -> Answer {
        self.exchange(&request(operation, &body.to_string()))
    }

    #[track_caller]
    pub fn receive(&mut self) -> Answer {
        self.try_receive().expect("the connection ended before an answer")
    }

    /// The next answer; none where the connection has ended.
    pub fn try_receive(&mut self) -> Option<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        answer.body = vec![0; len];
        self.stream.read_exact(&mut answer.body).unwrap();
        Some(answer)
    }

    /// As [`Client::until_end`], where the server may not have read everything.
    pub fn until_end_or_broken(&mut self) {
        let mut rest = Vec::new();
        let outcome = self.stream.read_to_end(&mut rest);
        assert!(
            outcome.err().is_none_or(|error| error.kind() != std::io::ErrorKind::WouldBlock),
            "it does not end"
        );
    }

    /// Waits until the server ends the connection; what it said before.
    pub fn until_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it does not end"),
            _ => rest,
        }
    }
}
