//! A terminal that is drawn anew again and again: its other screen, without a cursor, and keys as they are pressed.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::cli::out;

/// The other screen, no cursor, no line that goes on in the next one.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal, which is as it was before when this is dropped.
pub(super) struct TopScreen {
    out: File,
    /// How its keys were before.
    keys: Option<Termios>,
}

impl TopScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn enter() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let mut screen = Self { out, keys: None };
        let stdin = io::stdin();
        if stdin.is_terminal()
            && let Ok(before) = tcgetattr(&stdin)
        {
            let mut at_once = before.clone();
            at_once.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            at_once.special_codes[SpecialCodeIndex::VMIN] = 1;
            at_once.special_codes[SpecialCodeIndex::VTIME] = 0;
            // Whoever stopped it there would have the other screen for a shell.
            at_once.special_codes[SpecialCodeIndex::VSUSP] = 0;
            if tcsetattr(&stdin, OptionalActions::Now, &at_once).is_ok() {
                screen.keys = Some(before);
            }
        }
        screen.out.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Draws these lines and nothing else, with one write.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut drawn = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            drawn.push_str(if at == 0 { "" } else { "\r\n" });
            drawn.push_str(&out::of_terminal(line));
            drawn.push_str("\x1b[K");
        }
        drawn.push_str("\x1b[J");
        self.out.write_all(drawn.as_bytes())
    }
}

impl Drop for TopScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = self.out.write_all(LEAVE.as_bytes());
        if let Some(before) = &self.keys {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Keys as they are pressed; none where standard input is no terminal. The thread that reads them ends with the program.
pub(super) fn pressed() -> mpsc::Receiver<u8> {
    let (press, pressed) = mpsc::channel(16);
    if io::stdin().is_terminal() {
        let read = move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().read(&mut key) {
                if press.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        };
        // Without the thread Ctrl-C still ends it.
        let _ = std::thread::Builder::new().name("keys".to_owned()).spawn(read);
    }
    pressed
}
