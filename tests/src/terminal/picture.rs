//! What is to be seen on a terminal after some bytes. Knows as much of the language of terminals as our programs
//! speak; what it does not know is put down in [`Picture::unknown`], for a test to refuse.

/// Lines of characters.
type Cells = Vec<Vec<char>>;

/// A screen: its characters, its cursor, and what would be wrong with how it was drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    columns: usize,
    cells: Cells,
    /// Line and column of the cursor.
    cursor: (usize, usize),
    /// What is not complete yet: of a sequence, or of a character.
    pending: Vec<u8>,
    /// The other screen, while the program has one of its own.
    covered: Option<(Cells, (usize, usize))>,
    hidden: bool,
    unwrapped: bool,
    /// How often the cursor was sent to the first cell, as for a drawing of the whole screen.
    pub frames: usize,
    /// Characters that stood beyond the last column.
    pub overflowed: usize,
    /// Lines that went out of the screen above, on the program's own screen.
    pub scrolled: usize,
    /// Sequences of which it is not known what they do.
    pub unknown: Vec<String>,
}

impl Picture {
    /// An empty screen.
    #[must_use]
    pub fn new(columns: usize, lines: usize) -> Self {
        Self {
            columns,
            cells: vec![vec![' '; columns]; lines],
            ..Self::default()
        }
    }

    /// The lines, without blanks at their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |cells: &Vec<char>| cells.iter().collect::<String>().trim_end().to_owned();
        self.cells.iter().map(line).collect()
    }

    /// All lines but the empty ones at the end, as a text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n").trim_end().to_owned()
    }

    /// The line with `words`.
    #[must_use]
    pub fn line_with(&self, words: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(words))
    }

    /// Whether the program shows a screen of its own.
    #[must_use]
    pub const fn is_own_screen(&self) -> bool {
        self.covered.is_some()
    }

    /// Whether cursor, screen and wrapping are as a shell wants them.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        self.covered.is_none() && !self.hidden && !self.unwrapped
    }

    /// The same in another size; what does not fit is lost.
    pub fn resize(&mut self, columns: usize, lines: usize) {
        self.columns = columns;
        let fit = |cells: &mut Vec<Vec<char>>| {
            cells.resize(lines, Vec::new());
            cells.iter_mut().for_each(|line| line.resize(columns, ' '));
        };
        fit(&mut self.cells);
        if let Some((cells, _)) = &mut self.covered {
            fit(cells);
        }
        self.cursor = (
            self.cursor.0.min(lines.saturating_sub(1)),
            self.cursor.1.min(columns),
        );
    }

    /// What the program writes.
    pub fn take_in(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.pending.push(*byte);
            match self.pending.as_slice() {
                [b'\x1b', b'[', .., last] if self.pending.len() > 2 && (0x40..=0x7e).contains(last) => {
                    let sequence = String::from_utf8_lossy(&self.pending[2..]).into_owned();
                    self.pending.clear();
                    self.obey(&sequence);
                }
                [b'\x1b'] | [b'\x1b', b'[', ..] => {}
                pending => {
                    // A character may have up to four bytes.
                    if let Ok(text) = std::str::from_utf8(pending) {
                        let character = text.chars().next();
                        self.pending.clear();
                        character.into_iter().for_each(|character| self.put(character));
                    } else if pending.len() >= 4 || pending[0] == b'\x1b' {
                        let unknown = format!("{pending:?}");
                        self.unknown.push(unknown);
                        self.pending.clear();
                    }
                }
            }
        }
    }

    fn put(&mut self, character: char) {
        match character {
            '\r' => self.cursor.1 = 0,
            '\n' => self.down(),
            '\x08' => self.cursor.1 = self.cursor.1.saturating_sub(1),
            character if character.is_control() => self.unknown.push(format!("{character:?}")),
            character => {
                if self.cursor.1 >= self.columns {
                    self.overflowed += 1;
                    if self.unwrapped {
                        return;
                    }
                    self.down();
                    self.cursor.1 = 0;
                }
                let (line, column) = self.cursor;
                if let Some(cell) = self.cells.get_mut(line).and_then(|line| line.get_mut(column)) {
                    *cell = character;
                }
                self.cursor.1 += 1;
            }
        }
    }

    fn down(&mut self) {
        if self.cursor.0 + 1 < self.cells.len() {
            self.cursor.0 += 1;
        } else if !self.cells.is_empty() {
            self.cells.remove(0);
            self.cells.push(vec![' '; self.columns]);
            self.scrolled += usize::from(self.is_own_screen());
        }
    }

    /// A sequence without its `ESC [`.
    fn obey(&mut self, sequence: &str) {
        let (numbers, what) = sequence.split_at(sequence.len() - 1);
        let number = numbers.parse::<usize>().ok();
        match (numbers, what) {
            ("", "H") => {
                self.cursor = (0, 0);
                self.frames += 1;
            }
            (_, "A") => self.cursor.0 = self.cursor.0.saturating_sub(number.unwrap_or(1)),
            ("" | "0", "K") => self.wipe_line(),
            ("" | "0", "J") => {
                self.wipe_line();
                let blank = vec![' '; self.columns];
                self.cells
                    .iter_mut()
                    .skip(self.cursor.0 + 1)
                    .for_each(|line| line.clone_from(&blank));
            }
            // Colours.
            (_, "m") => {}
            ("?25", "h" | "l") => self.hidden = what == "l",
            ("?7", "h" | "l") => self.unwrapped = what == "l",
            ("?1049", "h") if self.covered.is_none() => {
                let blank = vec![vec![' '; self.columns]; self.cells.len()];
                self.covered = Some((std::mem::replace(&mut self.cells, blank), self.cursor));
            }
            ("?1049", "l") => {
                if let Some((cells, cursor)) = self.covered.take() {
                    (self.cells, self.cursor) = (cells, cursor);
                }
            }
            _ => self.unknown.push(sequence.to_owned()),
        }
    }

    fn wipe_line(&mut self) {
        let (line, column) = self.cursor;
        let cells = self.cells.get_mut(line).into_iter().flatten();
        cells.skip(column).for_each(|cell| *cell = ' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Picture {
        let mut picture = Picture::new(6, 3);
        picture.take_in(bytes);
        picture
    }

    #[test]
    fn a_line_is_drawn_over_wiped_and_cut() {
        assert_eq!(of("ab█\r\ncd\x1b[1A\rx\x1b[K".as_bytes()).text(), "x\ncd");
        let cut = of(b"\x1b[?7l12345678");
        assert_eq!((cut.text().as_str(), cut.overflowed), ("123456", 2));
        assert_eq!(of(b"12345678").text(), "123456\n78");
        assert_eq!(of(b"1\r\n2\r\n3\r\n4").text(), "2\n3\n4");
    }

    #[test]
    fn a_screen_of_its_own_leaves_the_other_as_it_was() {
        let mut picture = of(b"$ top\r\n\x1b[?1049h\x1b[?25l\x1b[Hhello\x1b[J");
        assert!(picture.is_own_screen() && !picture.is_usual());
        assert_eq!((picture.text().as_str(), picture.frames), ("hello", 1));
        picture.take_in(b"\x1b[?25h\x1b[?1049l");
        assert_eq!(picture.text(), "$ top");
        assert!(picture.is_usual() && picture.unknown.is_empty());
    }

    #[test]
    fn what_it_does_not_know_is_put_down() {
        assert_eq!(of(b"\x1b[5q").unknown, ["5q"]);
        assert_eq!(of(b"\x07").unknown.len(), 1);
    }
}
