//! Answers that wait for the kernel, and so must not keep an event loop from answering it.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that gives such answers, one after the other; it ends when this is dropped.
#[derive(Debug)]
pub struct Apart(Sender<Work>);

impl Apart {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (give, take) = channel::<Work>();
        thread::Builder::new().name("apart".to_owned()).spawn(move || take.iter().for_each(|work| work()))?;
        Ok(Self(give))
    }

    /// Has the thread do something.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        // It ends with this value, and by a panic the process does.
        let _ = self.0.send(Box::new(work));
    }
}
