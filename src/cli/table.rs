//! Tables in columns, for the commands that list something.

use std::io::{self, Write};

use crate::cli::plain::plain_line;

/// Writes rows below a head, each column as wide as its widest cell; the last one is not padded. Cells are one line.
pub(super) fn write<const N: usize>(head: [&str; N], rows: &[[String; N]], out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain_line(cell))).collect();
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(head)?;
    rows.iter().try_for_each(|row| line(row.each_ref().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["äöü".to_owned(), "1".to_owned()], ["a".to_owned(), String::new()]];
        let mut out = Vec::new();
        super::write(["A", "LAST"], &rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A    LAST\näöü  1\na\n");
    }
}
