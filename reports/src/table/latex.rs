//! Tables as LaTeX, for booktabs.

use super::Table;

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '±' => escaped.push_str("$\\pm$"),
            '×' => escaped.push_str("$\\times$"),
            'µ' => escaped.push_str("$\\mu$"),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The table in a `table` environment; needs `\usepackage{booktabs}`.
pub fn render(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let mut text = String::from("% needs \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n");
    text += &format!("  \\caption{{{}. {}}}\n", escape(&table.title), escape(&table.notes.join(" ")));
    text +=
        &format!("  \\begin{{tabular}}{{l{}}}\n    \\toprule\n", "r".repeat(table.headings.len().saturating_sub(1)));
    text += &row(table.headings.iter().map(|heading| escape(heading)).collect());
    text += "    \\midrule\n";
    for cells in &table.rows {
        let show = |cell: &super::Cell| match cell.best {
            true => format!("\\textbf{{{}}}", escape(&cell.text)),
            false => escape(&cell.text),
        };
        text += &row(cells.iter().map(show).collect());
    }
    text += "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n";
    text
}
