//! Columns, as kubectl lines them up: as wide as the widest cell and three spaces, the last one free.

use crate::text::{printable, width};
use std::borrow::Cow;

/// Spaces between columns.
const PADDING: usize = 3;

/// Lines up rows. Without rows there is only the header; without a header only rows. Cells are made printable.
pub fn table<const N: usize>(header: Option<[&str; N]>, rows: &[[String; N]]) -> String {
    let rows = rows.iter().map(|row| row.to_vec()).collect();
    lines(header.as_ref().map(|header| &header[..]), rows)
}

/// [`table`] with as many columns as the header, or the first row, has.
pub fn lines(header: Option<&[&str]>, mut rows: Vec<Vec<String>>) -> String {
    if let Some(header) = header {
        rows.insert(0, header.iter().map(|&name| name.to_owned()).collect());
    }
    let columns = rows.first().map_or(0, Vec::len);
    let mut widths = vec![0; columns];
    for row in &mut rows {
        for (cell, widest) in row.iter_mut().zip(&mut widths) {
            if let Cow::Owned(safe) = printable(cell) {
                *cell = safe;
            }
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().take(columns).enumerate() {
            text.push_str(cell);
            if column + 1 < columns {
                text.extend(std::iter::repeat_n(' ', widths[column] - width(cell) + PADDING));
            }
        }
        // An empty last cell leaves no blanks behind.
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["mount-a".to_owned(), "1/1".to_owned(), "Running".to_owned()],
            ["挂载".to_owned(), "0/1".to_owned(), "a\nb".to_owned()],
        ];
        expect![[r"
            NAME      READY   STATUS
            mount-a   1/1     Running
            挂载      0/1     a\nb
        "]]
        .assert_eq(&table(Some(["NAME", "READY", "STATUS"]), &rows));
        assert_eq!(table::<2>(None, &[]), "");
    }
}
