//! Tables as LaTeX, for booktabs.

use std::collections::BTreeSet;

use super::{Table, TableRow};

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
    match text.strip_prefix('-').filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
        Some(rest) => format!("$-${}", escape(rest)),
        None => escape(text),
    }
}

/// The table in a `table` environment; needs `\usepackage{booktabs}`.
pub fn render(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let mut text = String::from("\\begin{table}\n  \\centering\n");
    for (name, reference) in &table.references {
        text += &format!("  % {}: {}\n", escape(name), escape(reference));
    }
    text += &format!("  \\caption{{{}. {}}}\n", escape(&table.title), escape(&table.notes.join(" ")));
    text += &format!(
        "  \\begin{{tabular}}{{{}{}}}\n    \\toprule\n",
        "l".repeat(table.names),
        "r".repeat(table.headings.len().saturating_sub(table.names))
    );
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
        let show = |cell: &super::Cell| match cell.best {
            true => format!("\\textbf{{{}}}", number(cell.shown())),
            false => number(cell.shown()),
        };
        text += &row(cells.iter().map(show).collect());
    }
    text += "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n";
    format!("% needs \\usepackage{{booktabs}}\n{}{text}", engine(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_pdflatex_lacks_name_the_engine_that_has_them() {
        let titled = |title: &str| {
            let (headings, rows, notes) = (vec!["a".to_owned()], Vec::new(), Vec::new());
            let references = vec![("x".to_owned(), "Γ".to_owned())];
            render(&Table { title: title.to_owned(), headings, names: 1, rows, notes, references })
        };
        assert!(titled("±×–µ<").starts_with("% needs \\usepackage{booktabs}\n\\begin{table}"));
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
