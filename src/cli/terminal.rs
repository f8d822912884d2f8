//! The terminal: questions whose answers are not shown, and whether there are colours.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Whether standard output is a terminal that shows colours, and they are left on (no-color.org: set and not empty means none).
pub fn has_colours() -> bool {
    io::stdout().is_terminal() && permits_colours(env::var_os("NO_COLOR"), env::var_os("TERM"))
}

fn permits_colours(no_color: Option<OsString>, term: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|term| term != "dumb")
}

/// The longest answer, in bytes; the kernel's line is no longer.
const LINE_MAX: usize = 4096;

/// The terminal of this process, wherever its standard streams lead.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// `None` where there is none: nobody can be asked.
    pub fn open() -> Option<Self> {
        File::options().read(true).write(true).open("/dev/tty").ok().map(Self)
    }

    /// Shows a line.
    pub fn say(&self, text: &str) -> io::Result<()> {
        (&self.0).write_all(format!("{text}\n").as_bytes())
    }

    /// Asks, and reads one line that is not shown. Whoever types Ctrl-C ends the process, with the terminal as it was before.
    pub fn ask(&self, question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut line = {
            let quiet = Quiet::begin(&self.0)?;
            (&self.0).write_all(question.as_bytes())?;
            let line = quiet.read_line();
            (&self.0).write_all(b"\n")?;
            line?
        };
        match line.last().copied().map(Ended::by) {
            Some(Ended::Line) => drop(line.pop()),
            Some(Ended::Interrupted) => return Err(raise(Signal::INT)),
            Some(Ended::Quit) => return Err(raise(Signal::QUIT)),
            // The end of the input, by Ctrl-D or because the terminal went away.
            Some(Ended::Not) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(line)
    }
}

/// What the last byte of a line stands for.
enum Ended {
    Line,
    Interrupted,
    Quit,
    Not,
}

/// The characters that end a line while nothing is shown, whatever they are called in the terminal's own settings: the kernel is
/// told so by [`Quiet`].
const INTERRUPT: u8 = 0x03;
const QUIT: u8 = 0x1c;

impl Ended {
    fn by(byte: u8) -> Self {
        match byte {
            b'\n' => Self::Line,
            INTERRUPT => Self::Interrupted,
            QUIT => Self::Quit,
            _ => Self::Not,
        }
    }
}

/// Ends this process as the terminal would have; an error where it goes on all the same.
fn raise(signal: Signal) -> io::Error {
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    io::ErrorKind::Interrupted.into()
}

/// The terminal without echo, until this is dropped.
///
/// It makes no signals meanwhile, since one would end the process before the terminal is as it was. Ctrl-C and Ctrl-\ end the line
/// instead, and [`Terminal::ask`] then raises what they stand for.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn begin(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        quiet.local_modes |= LocalModes::ICANON;
        quiet.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        quiet.special_codes[SpecialCodeIndex::VEOL2] = QUIT;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }

    fn read_line(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        // Room for all of it: a vector that grows leaves copies behind that nobody wipes.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX + 1));
        let mut byte = Zeroizing::new([0]);
        let mut terminal = self.terminal;
        while line.len() < LINE_MAX && terminal.read(byte.as_mut_slice())? > 0 {
            line.push(byte[0]);
            if !matches!(Ended::by(byte[0]), Ended::Not) {
                break;
            }
        }
        Ok(line)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            log::error!("the terminal stays without echo (stty echo brings it back): {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_keeps_colours_away_where_it_is_not_empty_and_so_does_a_terminal_without() {
        let permits = |no_color: Option<&str>, term: Option<&str>| {
            permits_colours(no_color.map(Into::into), term.map(Into::into))
        };
        assert!(permits(None, None) && permits(Some(""), Some("xterm")));
        assert!(!permits(Some("1"), None) && !permits(None, Some("dumb")));
    }
}
