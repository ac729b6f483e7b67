//! Tables as Markdown.

use super::Table;

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The table with its title and notes.
pub fn render(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("### {}\n\n", escape(&table.title));
    text += &row(table.headings.iter().map(|heading| escape(heading)).collect());
    text += &row((0..table.headings.len()).map(|index| if index == 0 { "---" } else { "---:" }.to_owned()).collect());
    for cells in &table.rows {
        let show =
            |cell: &super::Cell| if cell.best { format!("**{}**", escape(&cell.text)) } else { escape(&cell.text) };
        text += &row(cells.iter().map(show).collect());
    }
    for note in &table.notes {
        text += &format!("\n{}\n", escape(note));
    }
    text
}
