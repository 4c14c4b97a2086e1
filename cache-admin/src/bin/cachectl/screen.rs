//! A terminal as a picture that is drawn anew: a screen of its own, single keys, and all as it was at the end.
//!
//! Not in here: what is shown.

use std::io::{self, Write as _};

use tokio::sync::mpsc;

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Size {
    /// Of what is no terminal.
    pub(crate) const ENDLESS: Self = Self {
        width: usize::MAX,
        height: usize::MAX,
    };
    /// Of a terminal that does not tell.
    const USUAL: Self = Self {
        width: 80,
        height: 24,
    };
}

/// The size of the terminal that standard error goes to.
pub(crate) fn size_of_errors() -> Size {
    mode::size_of_errors().unwrap_or(Size::USUAL)
}

/// The columns of the terminal that standard output goes to, where it is one.
pub(crate) fn columns() -> Option<usize> {
    Some(mode::size().ok()?.width)
}

/// What whoever watches wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Out: `q`, or a signal.
    Leave,
    /// The picture anew: another size.
    Redraw,
}

/// The terminal, until it is dropped: then it is as it was before.
#[derive(Debug)]
pub(crate) struct Screen {
    keys: mpsc::Receiver<Key>,
    _mode: mode::Mode,
    signals: signals::Signals,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn open() -> io::Result<Self> {
        // In this order: what is set is put back, even where a later step fails.
        let signals = signals::Signals::listen()?;
        let (mode, keys) = mode::Mode::set();
        let screen = Self {
            keys,
            _mode: mode,
            signals,
        };
        // The other screen, no cursor.
        write("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    pub(crate) fn size(&self) -> Size {
        mode::size().unwrap_or(Size::USUAL)
    }

    /// Shows `lines` in place of what was there.
    pub(crate) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H\x1b[?7l");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(line);
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J\x1b[?7h");
        write(&frame)
    }

    /// The next key, or signal.
    pub(crate) async fn key(&mut self) -> Key {
        tokio::select! {
            key = self.keys.recv() => match key {
                Some(key) => key,
                // No keyboard: signals alone.
                None => self.signals.next().await,
            },
            key = self.signals.next() => key,
        }
    }

    /// Until it is time to go.
    pub(crate) async fn wants_to_leave(&mut self) {
        while self.key().await != Key::Leave {}
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell where this fails.
        let _ = write("\x1b[?25h\x1b[?1049l");
    }
}

fn write(frame: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(frame.as_bytes())?;
    out.flush()
}

#[cfg(unix)]
mod mode {
    use std::io;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::stdio::{stderr, stdin, stdout};
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
    };
    use tokio::sync::mpsc;

    use super::{Key, Size};

    /// Single keys, unseen; put back when dropped.
    #[derive(Debug)]
    pub(super) struct Mode {
        before: Option<Termios>,
        ended: Arc<AtomicBool>,
    }

    impl Mode {
        /// Where there is no keyboard there are no keys, and nothing to put back.
        pub(super) fn set() -> (Self, mpsc::Receiver<Key>) {
            let (send, keys) = mpsc::channel(8);
            let ended = Arc::new(AtomicBool::new(false));
            let before = tcgetattr(stdin()).ok().filter(|before| {
                let mut single = before.clone();
                single.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
                // A read ends after a tenth of a second, so that whoever reads can be told to end.
                single.special_codes[SpecialCodeIndex::VMIN] = 0;
                single.special_codes[SpecialCodeIndex::VTIME] = 1;
                // To be stopped would leave the picture behind.
                single.special_codes[SpecialCodeIndex::VSUSP] = 0;
                tcsetattr(stdin(), OptionalActions::Now, &single).is_ok()
            });
            if before.is_some() {
                let ended = Arc::clone(&ended);
                // A thread of its own: the runtime would wait for its own ones at the end.
                std::thread::spawn(move || read(&send, &ended));
            }
            (Self { before, ended }, keys)
        }
    }

    impl Drop for Mode {
        fn drop(&mut self) {
            self.ended.store(true, Ordering::Relaxed);
            if let Some(before) = &self.before {
                // There is nobody to tell where this fails.
                let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            }
        }
    }

    fn read(keys: &mpsc::Sender<Key>, ended: &AtomicBool) {
        let mut bytes = [0_u8; 16];
        while !ended.load(Ordering::Relaxed) {
            match rustix::io::read(stdin(), &mut bytes) {
                Ok(count) if bytes.iter().take(count).any(|byte| b"qQ\x03\x04".contains(byte)) => {
                    if keys.blocking_send(Key::Leave).is_err() {
                        return;
                    }
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    pub(super) fn size() -> io::Result<Size> {
        size_of(stdout())
    }

    pub(super) fn size_of_errors() -> io::Result<Size> {
        size_of(stderr())
    }

    fn size_of(terminal: impl AsFd) -> io::Result<Size> {
        let size = tcgetwinsize(terminal)?;
        if size.ws_col == 0 || size.ws_row == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Size {
            width: size.ws_col.into(),
            height: size.ws_row.into(),
        })
    }
}

#[cfg(unix)]
mod signals {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::Key;

    /// What would end the process without putting the terminal back, and what says that its size is another.
    #[derive(Debug)]
    pub(super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
        hang_up: Signal,
        resized: Signal,
    }

    impl Signals {
        pub(super) fn listen() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
                resized: signal(SignalKind::window_change())?,
            })
        }

        pub(super) async fn next(&mut self) -> Key {
            tokio::select! {
                _ = self.interrupt.recv() => Key::Leave,
                _ = self.terminate.recv() => Key::Leave,
                _ = self.hang_up.recv() => Key::Leave,
                _ = self.resized.recv() => Key::Redraw,
            }
        }
    }
}

#[cfg(not(unix))]
mod mode {
    use std::io;

    use tokio::sync::mpsc;

    use super::{Key, Size};

    /// Nothing is set, so nothing is put back; signals end it.
    #[derive(Debug)]
    pub(super) struct Mode;

    impl Mode {
        pub(super) fn set() -> (Self, mpsc::Receiver<Key>) {
            (Self, mpsc::channel(1).1)
        }
    }

    pub(super) fn size() -> io::Result<Size> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn size_of_errors() -> io::Result<Size> {
        size()
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;

    use super::Key;

    #[derive(Debug)]
    pub(super) struct Signals;

    impl Signals {
        pub(super) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn next(&mut self) -> Key {
            let _ = tokio::signal::ctrl_c().await;
            Key::Leave
        }
    }
}
