//! The truth tables in the documentation, read by the tests so that a table and its test cannot drift apart.

/// Returns the cells of each row of the first Markdown table in `document`, without the header and the ruler.
pub(crate) fn rows<const N: usize>(document: &str) -> Vec<[String; N]> {
    let lines: Vec<&str> = document.lines().filter(|line| line.starts_with('|')).collect();
    let rows: Vec<[String; N]> = lines
        .iter()
        .skip(2)
        .map(|line| {
            let cells: Vec<String> =
                line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let count = cells.len();
            cells.try_into().unwrap_or_else(|_| panic!("{count} cells instead of {N}: {line}"))
        })
        .collect();
    assert!(!rows.is_empty(), "the table has no rows");
    rows
}
