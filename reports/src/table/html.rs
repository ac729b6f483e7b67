//! Tables as HTML.

use super::Table;

/// Text with the characters that mean something in HTML replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// A `table` element with a caption.
pub fn render(table: &Table) -> String {
    let mut text = format!("<table>\n<caption>{}</caption>\n<thead><tr>", escape(&table.title));
    for heading in &table.headings {
        text += &format!("<th scope=\"col\">{}</th>", escape(heading));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        text += "<tr>";
        for (index, cell) in row.iter().enumerate() {
            let content = escape(&cell.text);
            text += &match (index, cell.best) {
                (0, _) => format!("<th scope=\"row\">{content}</th>"),
                (_, true) => format!("<td><strong>{content}</strong></td>"),
                (_, false) => format!("<td>{content}</td>"),
            };
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n</table>\n";
    if !table.notes.is_empty() {
        text += &format!("<p class=\"note\">{}</p>\n", escape(&table.notes.join(" ")));
    }
    text
}
