//! `kmsfs` at a real terminal: what it asks, what it shows, and the terminal afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::fixture::Fixture;

/// How long an answer may take: one that does not come must fail the test and not stop it.
const LIMIT: Duration = Duration::from_secs(60);

/// A command that runs at a terminal of its own.
pub struct Terminal {
    master: File,
    /// Kept open, so that its settings can be asked when the command has ended.
    slave: File,
    shown: Receiver<Vec<u8>>,
    text: String,
    child: Child,
}

impl Fixture {
    /// Starts `kmsfs` with a new terminal as the one that it may ask on; its standard streams are the terminal, too.
    pub fn at_terminal(&self, arguments: &[&str]) -> Terminal {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        let mut command = self.in_session(&["--ctty", "--wait", "timeout", "--foreground"], arguments);
        command.env("KMSFS_HOME", self.path("home"));
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let master = File::from(master);
        let (sender, shown) = channel();
        let mut from = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(len @ 1..) = from.read(&mut bytes) {
                if sender.send(bytes[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { master, slave, shown, text: String::new(), child }
    }
}

impl Terminal {
    /// Waits until `text` has been shown since the last call.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        while !self.text.contains(text) {
            match self.shown.recv_timeout(LIMIT) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is not shown: {:?}", self.text),
            }
        }
        std::mem::take(&mut self.text)
    }

    /// Waits for a question and answers it.
    #[track_caller]
    pub fn answer(&mut self, question: &str, answer: &str) -> String {
        let before = self.shows(question);
        self.types(&format!("{answer}\n"));
        before
    }

    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON)
    }

    /// Waits for the end; the exit code, and what was shown since the last question.
    #[track_caller]
    pub fn ends(mut self) -> (i32, String) {
        let status: ExitStatus = self.child.wait().unwrap();
        assert!(self.echoes(), "the terminal is as it was");
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(200)) {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        (code, std::mem::take(&mut self.text))
    }
}
