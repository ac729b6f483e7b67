//! Tables as LaTeX, for booktabs.

use std::collections::BTreeSet;

use super::{Cell, Table, TableRow};

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '`' => escaped.push_str("\\textasciigrave{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '±' => escaped.push_str("$\\pm$"),
            '†' => escaped.push_str("$^\\dagger$"),
            '‡' => escaped.push_str("$^\\ddagger$"),
            '–' => escaped.push_str("--"),
            '×' => escaped.push_str("$\\times$"),
            '·' => escaped.push_str("$\\cdot$"),
            'µ' => escaped.push_str("$\\mu$"),
            // After a line break it would open an optional argument.
            '[' => escaped.push_str("{[}"),
            control if control.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The engine that a text needs. pdfLaTeX reads the accented letters of Latin alphabets, in UTF-8
/// since 2018, and has fonts for few others. Remarks do not count.
fn engine(text: &str) -> String {
    let set = text.lines().filter(|line| !line.trim_start().starts_with('%')).flat_map(str::chars);
    let letters: BTreeSet<char> = set.filter(|letter| !letter.is_ascii()).collect();
    let others: Vec<String> =
        letters.iter().filter(|letter| !('\u{c0}'..='\u{17f}').contains(letter)).map(char::to_string).collect();
    match (letters.is_empty(), others.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "% in UTF-8: needs pdfLaTeX of 2018 or later, XeLaTeX or LuaLaTeX\n".to_owned(),
        (false, false) => format!("% needs XeLaTeX or LuaLaTeX, and a font that has {}\n", others.join(" ")),
    }
}

/// The text of a cell: the sign of a negative number is a minus, not a hyphen.
fn number(text: &str) -> String {
    let mut shown = String::new();
    let (mut before, mut rest) = (' ', text);
    while let Some(at) = rest.find('-') {
        let (head, tail) = rest.split_at(at);
        before = head.chars().next_back().unwrap_or(before);
        shown += &escape(head);
        let is_sign = matches!(before, ' ' | '(') && tail[1..].starts_with(|first: char| first.is_ascii_digit());
        shown += if is_sign { "$-$" } else { "-" };
        (before, rest) = ('-', &tail[1..]);
    }
    shown + &escape(rest)
}

/// Characters of the widest cell of each column, as a person reads it.
fn widths(table: &Table) -> Vec<usize> {
    let mut widths: Vec<usize> = table.headings.iter().map(|heading| heading.chars().count()).collect();
    for row in &table.rows {
        if let TableRow::Cells(cells) = row {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.shown().chars().count());
            }
        }
    }
    widths
}

/// What a column with cells of so many characters is set in, `l` or `r` where none is long. Long
/// cells are sentences, which break into lines.
fn column(is_name: bool, width: usize) -> &'static str {
    match is_name {
        _ if width > LONGEST_LINE => ">{\\raggedright\\arraybackslash}p{7.5cm}",
        true => "l",
        false => "r",
    }
}

/// Characters of a cell that stay on one line.
const LONGEST_LINE: usize = 36;
/// Characters of a row that fit a page; a table with wider ones is shrunk to the page.
const WIDEST_ROW: usize = 80;

/// The table in a `table` environment; needs `\usepackage{booktabs,array,graphicx}`.
pub fn render(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let mut text = String::from("\\begin{table}\n  \\centering\n");
    for (name, reference) in &table.references {
        text += &format!("  % {}: {}\n", escape(name), escape(reference));
    }
    text += &format!("  \\caption{{{}. {}}}\n", escape(&table.title), escape(&table.notes.join(" ")));
    let widths = widths(table);
    let wide = widths.iter().map(|width| (*width).min(LONGEST_LINE)).sum::<usize>() > WIDEST_ROW;
    if wide {
        text += "  \\resizebox{\\linewidth}{!}{%\n";
    }
    let columns = widths.iter().enumerate().map(|(index, width)| column(index < table.names, *width));
    text += &format!("  \\begin{{tabular}}{{{}}}\n    \\toprule\n", columns.collect::<String>());
    text += &row(table.headings.iter().map(|heading| escape(heading)).collect());
    for (index, row_of_table) in table.rows.iter().enumerate() {
        if index == 0 || matches!(row_of_table, TableRow::Block(_)) {
            text += "    \\midrule\n";
        }
        let cells = match row_of_table {
            TableRow::Block(name) => {
                text += &format!(
                    "    \\multicolumn{{{}}}{{l}}{{\\textit{{{}}}}} \\\\\n",
                    table.headings.len(),
                    escape(name)
                );
                continue;
            }
            TableRow::Cells(cells) => cells,
        };
        let show = |cell: &Cell| match cell.best {
            true => format!("\\textbf{{{}}}", number(cell.shown())),
            false => number(cell.shown()),
        };
        text += &row(cells.iter().map(show).collect());
    }
    text += &format!("    \\bottomrule\n  \\end{{tabular}}{}\n\\end{{table}}\n", if wide { "}" } else { "" });
    format!("% needs \\usepackage{{booktabs,array,graphicx}}\n{}{text}", engine(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_a_minus_and_a_hyphen_stays() {
        let shown = ["-26.0 to -2 (-24.5 %)", "joint-large", "a - b", "lite-snn-2"].map(number);
        assert_eq!(shown, ["$-$26.0 to $-$2 ($-$24.5 \\%)", "joint-large", "a - b", "lite-snn-2"]);
    }

    #[test]
    fn sentences_break_into_lines_and_wide_tables_are_shrunk_to_the_page() {
        let of = |first: &str, cells: usize| {
            let row = std::iter::once(Cell::plain(first)).chain((1..cells).map(|_| Cell::plain("1234567890")));
            let headings = (0..cells).map(|number| number.to_string()).collect();
            let (title, rows) = ("t".to_owned(), vec![TableRow::Cells(row.collect())]);
            render(&Table { title, headings, names: 1, rows, notes: Vec::new(), references: Vec::new() })
        };
        assert!(of("short", 3).contains("\\begin{tabular}{lrr}"));
        assert!(!of("short", 3).contains("resizebox"));
        let wide = of("short", 9);
        assert!(wide.contains("\\resizebox{\\linewidth}{!}{%\n  \\begin{tabular}"), "{wide}");
        assert!(wide.ends_with("\\end{tabular}}\n\\end{table}\n"), "{wide}");
        let sentence = of("a sentence of many words, longer than a line", 3);
        assert!(sentence.contains("\\begin{tabular}{>{\\raggedright\\arraybackslash}p{7.5cm}rr}"), "{sentence}");
    }

    #[test]
    fn letters_that_pdflatex_lacks_name_the_engine_that_has_them() {
        let titled = |title: &str| {
            let (headings, rows, notes) = (vec!["a".to_owned()], Vec::new(), Vec::new());
            let references = vec![("x".to_owned(), "Γ".to_owned())];
            render(&Table { title: title.to_owned(), headings, names: 1, rows, notes, references })
        };
        assert!(titled("±×–µ<").starts_with("% needs \\usepackage{booktabs,array,graphicx}\n\\begin{table}"));
        assert!(titled("é").contains("pdfLaTeX of 2018"));
        assert!(titled("é, 模型 β").contains("% needs XeLaTeX or LuaLaTeX, and a font that has β 型 模\n"));
    }

    #[test]
    fn every_character_that_means_something_to_tex_is_escaped() {
        // TeX's own: escape, group, mathematics, alignment, parameter, superscript, subscript,
        // comment, active; control characters end lines or are refused.
        for special in "\\{}$&#^_%~\n\r\u{0}\u{7f}".chars() {
            let escaped = escape(&format!("a{special}b"));
            let inner = &escaped[1..escaped.len() - 1];
            let safe = inner == " "
                || inner == format!("\\{special}")
                || (inner.starts_with("\\text") && inner.ends_with("{}"));
            assert!(safe, "{special:?} becomes {inner:?}");
        }
        assert_eq!(escape("\\input{/etc/passwd}%"), "\\textbackslash{}input\\{/etc/passwd\\}\\%");
    }
}
