//! Tables that fit into the columns of a terminal without breaking a word or a number.
//!
//! Owns: what is hidden, shortened and moved below where there is little room. May not touch: what stands in the cells.
//!
//! Where there is room nothing changes. Else columns in which nothing stands are hidden, then titles wrapped, ids cut to
//! their beginnings, gaps narrowed, names shortened; what still does not fit comes below, beside the first columns again.

use super::words::{NOTHING, beginning, shortened, width, wrapped};
use comfy_table::presets;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};
use std::collections::BTreeSet;

/// What may be done to a column where there is little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Nothing: numbers and words.
    Whole,
    /// The middle of its texts may be left out, down to this many columns.
    Name(usize),
    /// Ids, of which the beginning is enough.
    Id,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    fit: Fit,
    right: bool,
    hideable: bool,
}

impl Column {
    fn of(title: &str, fit: Fit) -> Self {
        Self { title: title.to_owned(), fit, right: false, hideable: true }
    }

    /// A column of words.
    pub fn word(title: &str) -> Self {
        Self::of(title, Fit::Whole)
    }

    /// Names that people chose.
    pub fn name(title: &str) -> Self {
        Self::of(title, Fit::Name(12))
    }

    /// Names that differ in their middles, too: addresses.
    pub fn address(title: &str) -> Self {
        Self::of(title, Fit::Name(16))
    }

    /// A column of ids.
    pub fn id(title: &str) -> Self {
        Self::of(title, Fit::Id)
    }

    /// A column of numbers.
    pub fn number(title: &str) -> Self {
        Self { right: true, ..Self::of(title, Fit::Whole) }
    }

    /// It is shown even if nothing stands in it.
    pub fn always(self) -> Self {
        Self { hideable: false, ..self }
    }
}

/// A table of columns and rows.
#[derive(Debug, Clone)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// How many of the first columns tell what a row is about.
    keys: usize,
}

impl Grid {
    /// Without rows; the first `keys` columns stand again beside what is moved below.
    pub fn new(keys: usize, columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), keys }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As text that ends with a line end, in at most `room` columns if that is possible without breaking anything.
    pub fn render(&self, room: Option<usize>) -> String {
        let Some(room) = room else {
            let all: Vec<usize> = (0..self.columns.len()).collect();
            return self.draw(&all, &Fitted::natural(self), Gap::Wide);
        };
        let shown: Vec<usize> = (0..self.columns.len()).filter(|column| !self.hidden(*column)).collect();
        let (fitted, gap) = self.fit(&shown, room);
        let blocks = self.blocks(&shown, &fitted, gap, room);
        blocks.iter().map(|block| self.draw(block, &fitted, gap)).collect::<Vec<_>>().join("\n")
    }

    /// Whether nothing stands in a column.
    fn hidden(&self, column: usize) -> bool {
        let empty = |row: &Vec<String>| row[column].is_empty() || row[column] == NOTHING;
        self.columns[column].hideable && !self.rows.is_empty() && self.rows.iter().all(empty)
    }

    fn fit(&self, shown: &[usize], room: usize) -> (Fitted, Gap) {
        let mut fitted = Fitted::natural(self);
        if fitted.total(shown, Gap::Wide) <= room {
            return (fitted, Gap::Wide);
        }
        fitted.wrap_titles(self);
        if fitted.total(shown, Gap::Wide) <= room {
            return (fitted, Gap::Wide);
        }
        fitted.cut_ids(self);
        if fitted.total(shown, Gap::Wide) <= room {
            return (fitted, Gap::Wide);
        }
        if fitted.shorten(self, shown, room, Gap::Two) {
            return (fitted, Gap::Two);
        }
        fitted.shorten(self, shown, room, Gap::One);
        (fitted, Gap::One)
    }

    /// Which columns stand side by side.
    fn blocks(&self, shown: &[usize], fitted: &Fitted, gap: Gap, room: usize) -> Vec<Vec<usize>> {
        let keys: Vec<usize> = shown.iter().copied().filter(|column| *column < self.keys).collect();
        let mut blocks = vec![keys.clone()];
        for column in shown.iter().copied().filter(|column| *column >= self.keys) {
            let last = blocks.last().map_or(&keys, |block| block);
            let with: Vec<usize> = last.iter().copied().chain([column]).collect();
            match blocks.last_mut() {
                Some(block) if block.len() <= keys.len() || fitted.total(&with, gap) <= room => *block = with,
                _ => blocks.push(keys.iter().copied().chain([column]).collect()),
            }
        }
        blocks
    }

    fn draw(&self, shown: &[usize], fitted: &Fitted, gap: Gap) -> String {
        let mut table = Table::new();
        let style = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
        table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|column| fitted.titles[*column].join("\n")));
        for row in &fitted.rows {
            table.add_row(shown.iter().map(|column| row[*column].as_str()));
        }
        for (column, drawn) in shown.iter().zip(table.column_iter_mut()) {
            drawn.set_padding(gap.padding());
            if self.columns[*column].right {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt() + "\n"
    }
}

/// Blanks between two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Wide,
    Two,
    One,
}

impl Gap {
    fn padding(self) -> (u16, u16) {
        match self {
            Self::Wide => (1, 1),
            Self::Two => (0, 1),
            Self::One => (0, 0),
        }
    }

    /// Width of the gaps between this many columns.
    fn around(self, columns: usize) -> usize {
        let (left, right) = self.padding();
        columns * usize::from(left + right) + columns.saturating_sub(1)
    }
}

/// Titles and cells as they will stand there.
struct Fitted {
    titles: Vec<Vec<String>>,
    rows: Vec<Vec<String>>,
}

impl Fitted {
    fn natural(grid: &Grid) -> Self {
        let titles = grid.columns.iter().map(|column| vec![column.title.clone()]).collect();
        Self { titles, rows: grid.rows.clone() }
    }

    fn cells(&self, column: usize) -> usize {
        self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)
    }

    fn width(&self, column: usize) -> usize {
        let title = self.titles[column].iter().map(|line| width(line)).max().unwrap_or(0);
        title.max(self.cells(column))
    }

    fn total(&self, shown: &[usize], gap: Gap) -> usize {
        shown.iter().map(|column| self.width(*column)).sum::<usize>() + gap.around(shown.len())
    }

    /// A title needs no more room than its longest word, or the cells below it.
    fn wrap_titles(&mut self, grid: &Grid) {
        for (place, column) in grid.columns.iter().enumerate() {
            let longest = column.title.split(' ').map(width).max().unwrap_or(0);
            self.titles[place] = wrapped(&column.title, longest.max(self.cells(place)));
        }
    }

    fn cut_ids(&mut self, grid: &Grid) {
        for place in (0..grid.columns.len()).filter(|place| grid.columns[*place].fit == Fit::Id) {
            let length = telling(self.rows.iter().map(|row| row[place].as_str()));
            self.rows.iter_mut().for_each(|row| row[place] = beginning(&row[place], length));
        }
    }

    /// Shortens the widest names until all fits; false where they are as short as they may be. Begins with the whole names.
    fn shorten(&mut self, grid: &Grid, shown: &[usize], room: usize, gap: Gap) -> bool {
        let names = shown.iter().copied().filter_map(|place| match grid.columns[place].fit {
            Fit::Name(least) => Some((place, least)),
            _ => None,
        });
        let names: Vec<(usize, usize)> = names.collect();
        for (row, whole) in self.rows.iter_mut().zip(&grid.rows) {
            names.iter().for_each(|(place, _)| row[*place].clone_from(&whole[*place]));
        }
        loop {
            let over = self.total(shown, gap).saturating_sub(room);
            if over == 0 {
                return true;
            }
            let title = |place: usize| self.titles[place].iter().map(|line| width(line)).max().unwrap_or(0);
            let slack = |(place, least): &(usize, usize)| {
                self.cells(*place).saturating_sub((*least).max(title(*place)))
            };
            let widest =
                names.iter().filter(|name| slack(name) > 0).max_by_key(|(place, _)| self.cells(*place));
            let Some((place, _)) = widest.copied() else { return false };
            let most = self.cells(place) - 1;
            for (row, whole) in self.rows.iter_mut().zip(&grid.rows) {
                row[place] = shortened(&whole[place], most);
            }
        }
    }
}

/// Characters of an id that are at least shown.
const LEAST: usize = 8;

/// So many characters tell each of the ids from all others.
fn telling<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    let ids: BTreeSet<&str> = ids.collect();
    let alike = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let most = ids.iter().zip(ids.iter().skip(1)).map(|(a, b)| alike(a, b) + 1).max().unwrap_or(0);
    let length = most.max(LEAST);
    // A hyphen at the end says nothing.
    let hyphen = ids.iter().any(|id| id.chars().nth(length - 1) == Some('-'));
    length + usize::from(hyphen)
}

#[cfg(test)]
#[path = "grid_tests.rs"]
mod tests;
