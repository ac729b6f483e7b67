//! Tables as LaTeX, for booktabs.

use std::collections::BTreeSet;
use std::ops::Range;

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

/// Width and height of the page that tables are cut for, in points: the text of `article` at 10 pt,
/// with a tenth of its height to spare, for pages that are less tall for their width.
const PAGE: (f64, f64) = (345.0, 500.0);
/// A line of a table or of its caption, in points.
const LINE: f64 = 12.0;
/// A rule with the room around it.
const RULE: f64 = 6.0;
/// The mean width of a character, and the room between two columns.
const CHARACTER: f64 = 4.7;
const GAP: f64 = 12.0;
/// Characters of a line in a column of sentences, and in a caption.
const SENTENCE: usize = 44;
const CAPTION: usize = 72;

fn lines(characters: usize, line: usize) -> f64 {
    characters.div_ceil(line).max(1) as f64
}

/// Height of a row in points, before the table is shrunk.
fn height(row: &TableRow) -> f64 {
    match row {
        TableRow::Block(_) => RULE + LINE,
        TableRow::Cells(cells) => {
            let of_cell = |cell: &Cell| match cell.shown().chars().count() {
                width if width > LONGEST_LINE => lines(width, SENTENCE),
                _ => 1.0,
            };
            LINE * cells.iter().map(of_cell).fold(1.0, f64::max)
        }
    }
}

/// The rows of each part of a table whose first part has room for `first` points of rows, and every
/// other one for `others`. A part ends before a block where it can.
fn parts(rows: &[TableRow], first: f64, others: f64) -> Vec<Range<usize>> {
    let tall = |rows: &[TableRow]| rows.iter().map(height).sum::<f64>();
    let mut parts = Vec::new();
    let mut start = 0;
    for index in 0..rows.len() {
        let room = if parts.is_empty() { first } else { others };
        if index > start && tall(&rows[start..=index]) > room {
            let is_block = |at: &usize| matches!(rows[*at], TableRow::Block(_));
            let cut = (start + 1..=index).rev().find(is_block).unwrap_or(index);
            parts.push(start..cut);
            start = cut;
        }
    }
    parts.push(start..rows.len());
    parts
}

/// The table in a `table` environment; needs `\usepackage{booktabs,array,graphicx}`. A wide table
/// is shrunk to the width of the page. One that is then taller than a page is cut into parts, each
/// in an environment of its own with the headings above it, and all with one number.
pub fn render(table: &Table) -> String {
    let widths = widths(table);
    let wide = widths.iter().map(|width| (*width).min(LONGEST_LINE)).sum::<usize>() > WIDEST_ROW;
    let natural: f64 =
        widths.iter().map(|width| GAP + CHARACTER * if *width > LONGEST_LINE { SENTENCE } else { *width } as f64).sum();
    let scale = if wide { (PAGE.0 / natural).min(1.0) } else { 1.0 };
    let notes = table.notes.join(" ");
    // Of the rows, before they are shrunk: beside the caption stand the headings and the outer
    // rules.
    let room = |caption: usize| {
        let left = (PAGE.1 - LINE * (1.0 + lines(caption, CAPTION))) / scale - LINE - 3.0 * RULE;
        left.max(10.0 * LINE)
    };
    let title = table.title.chars().count() + " (part 1 of 2).".len();
    let parts = parts(&table.rows, room(title + notes.chars().count()), room(title));
    let columns = widths.iter().enumerate().map(|(index, width)| column(index < table.names, *width));
    let begin = format!(
        "{}  \\begin{{tabular}}{{{}}}\n    \\toprule\n{}",
        if wide { "  \\resizebox{\\linewidth}{!}{%\n" } else { "" },
        columns.collect::<String>(),
        line(table.headings.iter().map(|heading| escape(heading)).collect())
    );
    let end = format!("    \\bottomrule\n  \\end{{tabular}}{}\n\\end{{table}}\n", if wide { "}" } else { "" });
    let mut text = String::new();
    for (number, part) in parts.iter().enumerate() {
        text += "\\begin{table}\n  \\centering\n";
        if number == 0 {
            for (name, reference) in &table.references {
                text += &format!("  % {}: {}\n", escape(name), escape(reference));
            }
        } else {
            text += "  \\addtocounter{table}{-1}\n";
        }
        let of = if parts.len() > 1 { format!(" (part {} of {})", number + 1, parts.len()) } else { String::new() };
        let caption = if number == 0 { format!(". {}", escape(&notes)) } else { ".".to_owned() };
        text += &format!("  \\caption{{{}{of}{caption}}}\n{begin}", escape(&table.title));
        text += &rows(table, part);
        text += &end;
    }
    format!("% needs \\usepackage{{booktabs,array,graphicx}}\n{}{text}", engine(&text))
}

fn line(cells: Vec<String>) -> String {
    format!("    {} \\\\\n", cells.join(" & "))
}

/// The rows of a part, with the heading of the block that it begins within.
fn rows(table: &Table, part: &Range<usize>) -> String {
    let block = |name: &str| {
        let heading = format!("\\multicolumn{{{}}}{{l}}{{\\textit{{{}}}}}", table.headings.len(), escape(name));
        format!("    \\midrule\n{}", line(vec![heading]))
    };
    let before = table.rows[..part.start].iter().rev().find_map(|row| match row {
        TableRow::Block(name) => Some(name),
        TableRow::Cells(_) => None,
    });
    let mut text = String::new();
    for (index, row) in table.rows[part.clone()].iter().enumerate() {
        match row {
            TableRow::Block(name) => text += &block(name),
            TableRow::Cells(cells) => {
                if index == 0 {
                    text += &before.map_or("    \\midrule\n".to_owned(), |name| block(&format!("{name} (continued)")));
                }
                let show = |cell: &Cell| match cell.best {
                    true => format!("\\textbf{{{}}}", number(cell.shown())),
                    false => number(cell.shown()),
                };
                text += &line(cells.iter().map(show).collect());
            }
        }
    }
    text
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
    fn a_table_that_is_taller_than_a_page_has_parts_of_whole_blocks() {
        let row = || TableRow::Cells(vec![Cell::plain("a"), Cell::plain("1")]);
        let tall = |blocks: usize, of_each: usize| {
            let block =
                |name: usize| std::iter::once(TableRow::Block(format!("b{name}"))).chain((0..of_each).map(|_| row()));
            let (title, headings) = ("t".to_owned(), ["h", "n"].map(str::to_owned).to_vec());
            let rows = (0..blocks).flat_map(block).collect();
            render(&Table { title, headings, names: 1, rows, notes: vec!["Note.".into()], references: Vec::new() })
        };
        // A page has room for 500 points: 2 lines of caption, a line of headings, 3 rules, and the
        // rows.
        let fits = |rows: f64, blocks: f64| 12.0 * (2.0 + 1.0 + rows + blocks) + 6.0 * (3.0 + blocks) <= 500.0;
        assert!(fits(32.0, 3.0) && !fits(33.0, 3.0));
        assert!(!tall(1, 35).contains("part"), "{}", tall(1, 35));
        let cut = tall(9, 11);
        let parts: Vec<&str> = cut.split("\\begin{table}").skip(1).collect();
        assert_eq!(parts.len(), 5, "{cut}");
        assert!(parts[0].contains("\\caption{t (part 1 of 5). Note.}"), "{}", parts[0]);
        for (number, part) in parts.iter().enumerate() {
            let count = |what: &str| part.matches(what).count();
            assert!(fits(count("a & 1") as f64, count("\\textit") as f64), "{part}");
            assert_eq!((count("h & n"), count("\\end{table}"), count("continued")), (1, 1, 0), "{part}");
            assert_eq!(count("\\addtocounter{table}{-1}"), usize::from(number > 0), "one number for all: {part}");
        }
        assert_eq!(cut.matches("a & 1").count(), 99, "no row is lost");
        // A block that is taller than a page goes on below its own name.
        let long = tall(1, 60);
        assert!(long.contains("(part 2 of 2).}") && long.contains("\\textit{b0 (continued)}"), "{long}");
        assert_eq!(long.matches("a & 1").count(), 60);
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
