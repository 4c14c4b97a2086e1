//! Aligned tables.

use crate::output::Colours;

/// Rows under a header; numbers stand to the right.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self {
            header: columns.iter().map(|(name, _)| *name).collect(),
            sides: columns.iter().map(|(_, side)| *side).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, header first.
    pub(crate) fn lines(&self, colours: Colours) -> Vec<String> {
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&header).chain(&self.rows);
            cells
                .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |row: &[String]| {
            let cells = row
                .iter()
                .zip(&widths)
                .zip(&self.sides)
                .map(|((cell, width), side)| match side {
                    Side::Left => format!("{cell:<width$}"),
                    Side::Right => format!("{cell:>width$}"),
                });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines = vec![colours.bold(&line(&header))];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines
    }
}
