//! Answers that take long, or wait for the kernel: they must not keep an event loop from answering it. There are few of those, and where
//! each of them waited for a disk, whoever wanted anything else of the mount waited as well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;

type Work = Box<dyn FnOnce() + Send>;

/// Threads at most; what is more waits for one of them.
const MOST: usize = 16;

/// Threads that give such answers; they end when this is dropped.
#[derive(Debug)]
pub struct Apart {
    give: Sender<Work>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    take: Mutex<Receiver<Work>>,
    /// Work that is done or waits.
    begun: AtomicUsize,
    threads: AtomicUsize,
}

impl Apart {
    /// Starts the first thread; others come when they are needed.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (give, take) = channel();
        let (begun, threads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let apart = Self { give, shared: Arc::new(Shared { take: Mutex::new(take), begun, threads }) };
        apart.spawn()?;
        Ok(apart)
    }

    /// Has one of the threads do something.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        let begun = self.shared.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // The threads end with this value, and by a panic the process does.
        let _ = self.give.send(Box::new(work));
        let threads = self.shared.threads.load(Ordering::SeqCst);
        if begun > threads
            && threads < MOST
            && let Err(error) = self.spawn()
        {
            log::warn!("{begun} slow requests share {threads} threads: {error}");
        }
    }

    fn spawn(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        thread::Builder::new().name("apart".to_owned()).spawn(move || shared.work())?;
        self.shared.threads.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let next = self.take.lock().recv();
            let Ok(work) = next else { return };
            work();
            self.begun.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_waits_keeps_nothing_else_waiting() {
        let apart = Apart::start().unwrap();
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..MOST - 1 {
            let wait = wait.clone();
            apart.run(move || {
                let _ = wait.lock().recv();
            });
        }
        let (say, said) = channel();
        apart.run(move || say.send("done").unwrap());
        assert_eq!(said.recv_timeout(Duration::from_secs(20)), Ok("done"));
        drop(go);
    }
}
