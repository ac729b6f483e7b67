//! Tables as HTML.

use super::{Table, TableRow};

/// Text with the characters that mean something in HTML replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// A heading whose unit is not broken over lines.
fn unbroken(heading: &str) -> String {
    match heading.split_once(" (") {
        Some((title, unit)) => format!("{} <span class=\"unit\">({}</span>", escape(title), escape(unit)),
        None => escape(heading),
    }
}

/// A `table` element with a caption.
pub fn render(table: &Table) -> String {
    let mut text = format!("<table>\n<caption>{}</caption>\n<thead><tr>", escape(&table.title));
    let class = |index: usize| if index < table.names { " class=\"name\"" } else { "" };
    for (index, heading) in table.headings.iter().enumerate() {
        text += &format!("<th scope=\"col\"{}>{}</th>", class(index), unbroken(heading));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        let cells = match row {
            TableRow::Block(name) => {
                let width = table.headings.len();
                text += &format!(
                    "<tr><th class=\"block\" scope=\"colgroup\" colspan=\"{width}\">{}</th></tr>\n",
                    escape(name)
                );
                continue;
            }
            TableRow::Cells(cells) => cells,
        };
        text += if cells.first().is_some_and(|cell| cell.again) { "<tr class=\"again\">" } else { "<tr>" };
        for (index, cell) in cells.iter().enumerate() {
            let mut content = escape(cell.shown());
            if cell.best {
                content = format!("<strong>{content}</strong>");
            }
            if let Some(link) = cell.link.as_ref().filter(|_| !content.is_empty()) {
                content = format!("<a href=\"#{}\">{content}</a>", escape(link));
            }
            text += &match index {
                0 => format!("<th scope=\"row\" class=\"name\">{content}</th>"),
                _ => format!("<td{}>{content}</td>", class(index)),
            };
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n</table>\n";
    for note in &table.notes {
        text += &format!("<p class=\"note\">{}</p>\n", escape(note));
    }
    if !table.references.is_empty() {
        text += "<details class=\"note\"><summary>References</summary><ul>\n";
        for (name, reference) in &table.references {
            text += &format!("<li>{}: {}</li>\n", escape(name), escape(reference));
        }
        text += "</ul></details>\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_an_element_or_an_attribute() {
        let escaped = escape("</td><script>alert('\"&\"')</script>");
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert_eq!(escape("a < b & \"c\""), "a &lt; b &amp; &quot;c&quot;");
    }
}
