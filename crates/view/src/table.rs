//! Columns, as kubectl lines them up: as wide as the widest cell and three spaces, the last one free.

use crate::text::{printable, width};

/// Spaces between columns.
const PADDING: usize = 3;

/// Lines up rows. Without rows there is only the header; without a header only rows. Cells are made printable.
pub fn table<const N: usize>(header: Option<[&str; N]>, rows: &[[String; N]]) -> String {
    let header = header.map(|header| header.map(str::to_owned));
    let rows: Vec<[String; N]> =
        header.iter().chain(rows).map(|row| row.clone().map(|cell| printable(&cell).into_owned())).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
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
