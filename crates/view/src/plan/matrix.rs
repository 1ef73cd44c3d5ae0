//! Who sees whose mounts, as tables: one for all places of which the same is to be told.

use crate::text::{Paint, printable, width, wrap};
use explain::plan::{Cell, Matrix, Party, Reach};
use std::fmt::Write as _;
use subtree_model::RuleId;

/// All tables, then what the rules in them say.
pub(super) fn write_matrices(text: &mut String, matrices: &[Matrix], columns: usize, paint: Paint) {
    let mut legend = Legend::default();
    let (told, silent): (Vec<&Matrix>, Vec<&Matrix>) = matrices.iter().partition(|m| propagates(m));
    let mut groups: Vec<Vec<&Matrix>> = Vec::new();
    for matrix in told {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| are_alike(first, matrix))) {
            Some(group) => group.push(matrix),
            None => groups.push(vec![matrix]),
        }
    }
    for group in &groups {
        write_group(text, group, &mut legend, columns, paint);
    }
    write_silent(text, &silent, columns, paint);
    legend.write(text, columns, paint);
}

fn propagates(matrix: &Matrix) -> bool {
    matrix.parties.iter().any(|party| party.mode.is_some_and(|mode| mode != "None"))
}

/// Whether one table does for both. (Where a party has two mounts of the place, their paths tell them apart.)
fn are_alike(one: &Matrix, other: &Matrix) -> bool {
    let who = |matrix: &Matrix| {
        matrix.parties.iter().map(|party| (party.name.clone(), party.mode)).collect::<Vec<_>>()
    };
    let (parties, others) = (who(one), who(other));
    let twice = |at: usize| parties[..at].contains(&parties[at]);
    one.directory == other.directory
        && one.left_out == other.left_out
        && one.nested.is_empty()
        && other.nested.is_empty()
        && parties == others
        && one.cells == other.cells
        && !(0..parties.len()).any(twice)
}

/// Rules by number, in the order in which they are first told.
#[derive(Default)]
struct Legend {
    rules: Vec<RuleId>,
}

impl Legend {
    fn cell(&mut self, reach: Reach) -> String {
        let word = if reach.reaches { "yes" } else { "no" };
        let errno = reach.errno.map_or(String::new(), |errno| format!(" {errno}"));
        let Some(rule) = reach.rule else { return format!("{word}{errno}") };
        let number = self.rules.iter().position(|known| *known == rule).unwrap_or_else(|| {
            self.rules.push(rule);
            self.rules.len() - 1
        });
        format!("{word}{errno} [{}]", number + 1)
    }

    fn write(&self, text: &mut String, columns: usize, paint: Paint) {
        for (index, rule) in self.rules.iter().enumerate() {
            let number = format!("[{}]", index + 1);
            let lead = format!("  {number} {}:", rule.id());
            let body = wrap(&format!("{lead} {}", rule.meaning()), columns, 6);
            if index == 0 {
                text.push('\n');
            }
            let _ = writeln!(text, "  {}", paint.dim(body.trim_start()));
        }
    }
}

/// The table of places that are alike.
fn write_group(text: &mut String, group: &[&Matrix], legend: &mut Legend, columns: usize, paint: Paint) {
    let Some(matrix) = group.first() else { return };
    let places: Vec<String> =
        group.iter().map(|m| printable(&m.place.display().to_string()).into_owned()).collect();
    let on = if matrix.directory { "in" } else { "on" };
    let title = match places.as_slice() {
        [place] => format!("{place}: who mounts {on} it (a row each), and who sees that"),
        _ => format!(
            "{}: who mounts {on} one of them (a row each), and who sees that there",
            places.join(", ")
        ),
    };
    let _ = writeln!(text, "\n{}", paint.strong(&wrap(&title, columns, 2)));
    let mounts = rows(matrix, |cell| Some(legend.cell(cell.mounts)));
    let unmounts = rows(matrix, |cell| cell.unmounts.map(|reach| legend.cell(reach)));
    let nested = matrix.nested.iter().map(|nested| {
        let types = nested.types.iter().map(|kind| kind.map_or("-".to_owned(), |kind| kind.to_string()));
        (printable(&nested.path.display().to_string()).into_owned(), types.collect())
    });
    let nested: Vec<(String, Vec<String>)> = nested.collect();
    let names = Names::of(matrix, group.len() == 1, &mounts, columns);
    names.write_key(text);
    names.write(text, &mounts);
    let _ = writeln!(text, "  what the node mounted there: who unmounts it, and for whom it goes");
    names.write(text, &unmounts);
    if matrix.left_out > 0 {
        let _ = writeln!(text, "  and {} more that have it, which are not looked at", matrix.left_out);
    }
    if !nested.is_empty() {
        let _ = writeln!(text, "  mounted there before: as what, for whom");
        names.write_under(text, &nested);
    }
}

/// By party what its cells say; without those that have nothing to say.
fn rows(matrix: &Matrix, mut cell: impl FnMut(&Cell) -> Option<String>) -> Vec<(usize, Vec<String>)> {
    let cells = matrix.cells.iter().enumerate();
    let rows = cells.map(|(at, cells)| (at, cells.iter().map(&mut cell).collect::<Vec<_>>()));
    rows.filter(|(_, cells)| cells.iter().any(Option::is_some))
        .map(|(at, cells)| {
            (at, cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect())
        })
        .collect()
}

/// What the parties are called in a table.
struct Names {
    /// By letter and in full, where the names are too long for columns, or two are the same.
    key: Vec<(String, String)>,
    /// Of columns.
    short: Vec<String>,
    /// Of rows.
    long: Vec<String>,
}

impl Names {
    fn of(matrix: &Matrix, paths: bool, mounts: &[(usize, Vec<String>)], columns: usize) -> Names {
        let name = |party: &Party| printable(&party.name).into_owned();
        let moded =
            |party: &Party| party.mode.map_or(name(party), |mode| format!("{} ({mode})", name(party)));
        let short: Vec<String> = matrix.parties.iter().map(name).collect();
        let names =
            Names { key: Vec::new(), long: matrix.parties.iter().map(moded).collect(), short: short.clone() };
        let twice = (0..short.len()).any(|at| short[..at].contains(&short[at]));
        let mut tried = String::new();
        names.write(&mut tried, mounts);
        if !twice && tried.lines().all(|line| width(line) <= columns) {
            return names;
        }
        let letters: Vec<String> = (0..short.len()).map(letter).collect();
        let full = matrix.parties.iter().map(|party| match party.mode {
            Some(mode) if paths => {
                let path = printable(&party.path.display().to_string()).into_owned();
                format!("{} at {path} ({mode})", name(party))
            }
            _ => moded(party),
        });
        Names { key: letters.iter().cloned().zip(full).collect(), short: letters.clone(), long: letters }
    }

    fn write_key(&self, text: &mut String) {
        for (letter, name) in &self.key {
            let _ = writeln!(text, "    {letter}  {name}");
        }
        if !self.key.is_empty() {
            text.push('\n');
        }
    }

    fn write(&self, text: &mut String, rows: &[(usize, Vec<String>)]) {
        let rows: Vec<(String, Vec<String>)> = rows
            .iter()
            .map(|(at, cells)| (self.long.get(*at).cloned().unwrap_or_default(), cells.clone()))
            .collect();
        self.write_under(text, &rows);
    }

    /// Rows under the names of the parties.
    fn write_under(&self, text: &mut String, rows: &[(String, Vec<String>)]) {
        let head = std::iter::once(String::new()).chain(self.short.iter().cloned()).collect();
        let rows = rows.iter().map(|(name, cells)| std::iter::once(name).chain(cells).cloned().collect());
        let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        let widest =
            |at: usize| all.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.short.len()).map(widest).collect();
        for row in &all {
            let mut line = String::from("   ");
            for (cell, most) in row.iter().zip(&widths) {
                line.push(' ');
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', most - width(cell) + 2));
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

/// `a` to `z`, then `A` and on: there are never more than [`explain::plan::MAX_PARTIES`].
fn letter(at: usize) -> String {
    ('a'..='z').chain('A'..='Z').nth(at).map_or_else(|| at.to_string(), String::from)
}

/// Places that nobody has with propagation, in a few lines.
fn write_silent(text: &mut String, silent: &[&Matrix], columns: usize, paint: Paint) {
    if silent.is_empty() {
        return;
    }
    let places: Vec<String> =
        silent.iter().map(|matrix| printable(&matrix.place.display().to_string()).into_owned()).collect();
    let _ = writeln!(text, "\n{}", paint.strong("mounts and unmounts pass neither in nor out (None)"));
    let _ = writeln!(text, "  {}", wrap(&places.join(", "), columns, 2));
}
