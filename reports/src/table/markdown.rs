//! Tables as Markdown.

use super::{Table, TableRow};

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
    text += &row((0..table.headings.len())
        .map(|index| if index < table.names { "---" } else { "---:" }.to_owned())
        .collect());
    for row_of_table in &table.rows {
        let cells = match row_of_table {
            TableRow::Block(name) => {
                let mut cells = vec![format!("*{}*", escape(name))];
                cells.resize(table.headings.len(), String::new());
                text += &row(cells);
                continue;
            }
            TableRow::Cells(cells) => cells,
        };
        let show =
            |cell: &super::Cell| if cell.best { format!("**{}**", escape(cell.shown())) } else { escape(cell.shown()) };
        text += &row(cells.iter().map(show).collect());
    }
    for note in &table.notes {
        text += &format!("\n{}\n", escape(note));
    }
    for (index, (name, reference)) in table.references.iter().enumerate() {
        text += &format!("{}- {}: {}\n", if index == 0 { "\n" } else { "" }, escape(name), escape(reference));
    }
    text
}
