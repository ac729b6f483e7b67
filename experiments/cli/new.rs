//! `litesnn plugins new`: the file of a new plugin, in the clone that the command stands in.
//!
//! What it writes is a template with its names replaced. The templates are plugins themselves
//! (`plugins/templates/`), compiled and put through the conformance kit by
//! `plugins/tests/templates.rs`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use litesnn_framework::plugin::{Kind, registered};

use crate::arguments::New;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

/// The beginning of the names in a template; the kind follows.
const PREFIX: &str = "template";

fn template(kind: Kind) -> &'static str {
    match kind {
        Kind::Dataset => include_str!("../../plugins/templates/template_dataset.rs"),
        Kind::Space => include_str!("../../plugins/templates/template_space.rs"),
        Kind::Compressor => include_str!("../../plugins/templates/template_compressor.rs"),
        Kind::Timesteps => include_str!("../../plugins/templates/template_timesteps.rs"),
        Kind::Optimizer => include_str!("../../plugins/templates/template_optimizer.rs"),
        Kind::Launcher => include_str!("../../plugins/templates/template_launcher.rs"),
    }
}

pub fn new(options: &New) -> Result<Exit, Failure> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.section() == options.kind).expect("clap knows the kinds");
    let name = options.name.as_str();
    let template = template(kind);
    check(name, template)?;
    let root = clone_around()?;
    let room = root.join("plugins/src").join(kind.section());
    let file = room.join(format!("{}.rs", snake(name)));
    let modules = room.join("mod.rs");
    let text = rename(template, &format!("{PREFIX}-{kind}"), name);
    let cannot = |path: &Path, error: &std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write `{}`: {error}", path.display()), None)
    };
    let list = root.join("plugins/README.md");
    let rows = std::fs::read_to_string(&list).map_err(|error| cannot(&list, &error))?;
    let declared = std::fs::read_to_string(&modules).map_err(|error| cannot(&modules, &error))?;
    let mut created = std::fs::File::create_new(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let help = Some("choose another name; nothing was overwritten".to_owned());
            Failure::new(Exit::Usage, format!("`{}` is there already", file.display()), help)
        }
        _ => cannot(&file, &error),
    })?;
    created.write_all(text.as_bytes()).map_err(|error| cannot(&file, &error))?;
    std::fs::write(&modules, with_module(&declared, &snake(name))).map_err(|error| cannot(&modules, &error))?;
    std::fs::write(&list, with_row(&rows, kind, &row(kind, name, &text))).map_err(|error| cannot(&list, &error))?;
    format_file(&file);
    out!("{}", file.display());
    say!(
        "{} declares it and {} lists it; `make test` puts it through the conformance kit",
        modules.display(),
        list.display()
    );
    Ok(Exit::Done)
}

/// Replaces a name in each of its spellings: `magnitude-prune`, `magnitude_prune`,
/// `MagnitudePrune`.
fn rename(text: &str, from: &str, to: &str) -> String {
    text.replace(from, to).replace(&snake(from), &snake(to)).replace(&camel(from), &camel(to))
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn camel(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').filter(|word| !word.is_empty()).map(capital).collect()
}

fn check(name: &str, template: &str) -> Result<(), Failure> {
    // `plugins new` is a command, and `mod.rs` is no plugin.
    const TAKEN: [&str; 5] = ["new", "lib", "main", "mod", "help"];
    const KEYWORDS: [&str; 32] = [
        "as", "async", "await", "box", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern", "fn",
        "for", "gen", "if", "impl", "in", "let", "loop", "match", "move", "mut", "pub", "ref", "return", "static",
        "struct", "trait", "type", "use", "where",
    ];
    let refuse = |why: String, help: &str| Err(Failure::new(Exit::Usage, why, Some(help.to_owned())));
    let words = name.split('-');
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !words.clone().all(plain) || name.len() > 40 {
        let help = "lowercase letters and digits, words joined by `-`, a letter first, up to 40: `magnitude-prune`";
        return refuse(format!("`{name}` is not the name of a plugin"), help);
    }
    if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        return refuse(
            format!("`{name}` cannot be the name of a plugin: it is a word of Rust or of the command"),
            "add a word: `my-prune`",
        );
    }
    if let Some(plugin) = registered().into_iter().find(|plugin| plugin.name == name) {
        return refuse(
            format!("the {} `{name}` is there already", plugin.kind),
            "choose another name; `litesnn plugins` lists them",
        );
    }
    let identifiers = template.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut clashing = identifiers.filter(|word| *word == camel(name) || *word == snake(name));
    if clashing.next().is_some() {
        let why =
            format!("`{name}` cannot be the name of this plugin: its code uses `{}` for something else", camel(name));
        return refuse(why, "add a word: `my-prune`");
    }
    Ok(())
}

/// The clone of litesnn around the working directory.
fn clone_around() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let is_clone =
        |folder: &&Path| folder.join("plugins/src/lib.rs").is_file() && folder.join("plugins/README.md").is_file();
    here.ancestors().find(is_clone).map(Path::to_owned).ok_or_else(|| {
        let help = "change into the clone; for a plugin in a crate of its own, plugins/README.md shows what is needed";
        Failure::new(Exit::Usage, format!("`{}` is not in a clone of litesnn", here.display()), Some(help.into()))
    })
}

/// The plugin's row in the list.
fn row(kind: Kind, name: &str, text: &str) -> String {
    let field = |field: &str| {
        let after = text.split_once(&format!("    {field}: \"")).map_or("", |(_, after)| after);
        after.split_once("\",\n").map_or("", |(value, _)| value)
    };
    format!("| [`{name}`](src/{kind}/{}.rs) | {kind} | {} | {} |", snake(name), field("summary"), field("paper"))
}

/// The list with a row more, in its order: by kind, then by name.
fn with_row(list: &str, kind: Kind, row: &str) -> String {
    let place = |row: &str| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let name = cells.next()?.strip_prefix("[`")?.split('`').next()?.to_owned();
        let kind = cells.next()?;
        Some((Kind::ALL.into_iter().find(|known| known.section() == kind)?, name))
    };
    let new = place(row).unwrap_or((kind, String::new()));
    let mut lines: Vec<&str> = list.lines().collect();
    let before = lines.iter().rposition(|line| place(line).is_some_and(|old| old < new));
    // Above the first plugin stand the table's header and its rule.
    let first = || lines.iter().position(|line| place(line).is_some());
    let at = before.map(|before| before + 1).or_else(first).unwrap_or(lines.len());
    lines.insert(at, row);
    lines.join("\n") + "\n"
}

/// The room's `mod.rs` with a module more, in the order of their names.
fn with_module(declared: &str, module: &str) -> String {
    let new = format!("pub mod {module};");
    let mut lines: Vec<&str> = declared.lines().collect();
    let known = |line: &str| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned);
    let before = lines.iter().rposition(|line| known(line).is_some_and(|known| known.as_str() < module));
    let first = || lines.iter().position(|line| known(line).is_some());
    let at = before.map(|before| before + 1).or_else(first).unwrap_or(lines.len());
    lines.insert(at, &new);
    lines.join("\n") + "\n"
}

/// Lines get longer or shorter with the name. Without rustfmt, `make format` does it later.
fn format_file(file: &Path) {
    let mut command = Command::new("rustfmt");
    let _ = command.args(["--edition", "2024"]).arg(file).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_replaced_in_all_its_spellings() {
        let text = "struct TemplateSpace; const NAME: &str = \"template-space\"; mod template_space;";
        let renamed = rename(text, "template-space", "tiny-grid");
        assert_eq!(renamed, "struct TinyGrid; const NAME: &str = \"tiny-grid\"; mod tiny_grid;");
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        use litesnn_plugins as _;
        for (name, why) in [
            ("My-Prune", "`My-Prune` is not the name of a plugin"),
            ("my_prune", "`my_prune` is not the name of a plugin"),
            ("9-lives", "`9-lives` is not the name of a plugin"),
            ("my--prune", "`my--prune` is not the name of a plugin"),
            ("../escape", "`../escape` is not the name of a plugin"),
            ("", "`` is not the name of a plugin"),
            ("type", "a word of Rust or of the command"),
            ("new", "a word of Rust or of the command"),
            ("score-prune", "the compressor `score-prune` is there already"),
            ("compressor", "its code uses `Compressor` for something else"),
            ("build", "its code uses `Build` for something else"),
        ] {
            let refusal = check(name, template(Kind::Compressor)).unwrap_err();
            assert!(format!("{refusal:?}").contains(why), "{name}: {refusal:?}");
        }
        assert!(check("my-prune", template(Kind::Compressor)).is_ok());
    }

    #[test]
    fn a_row_finds_its_place() {
        let list = "# Plugins\n\n| name | kind |\n|---|---|\n| [`b`](x) | space |\n| [`a`](x) | compressor |\n| [`c`](x) | compressor |\n\nEnd\n";
        let at = |kind: Kind, name: &str| {
            let row = format!("| [`{name}`](x) | {kind} |");
            with_row(list, kind, &row).lines().position(|line| line == row)
        };
        assert_eq!(at(Kind::Dataset, "z"), Some(4));
        assert_eq!(at(Kind::Space, "z"), Some(5));
        assert_eq!(at(Kind::Compressor, "b"), Some(6));
        assert_eq!(at(Kind::Optimizer, "a"), Some(7));
    }

    #[test]
    fn a_module_finds_its_place() {
        let declared = "//! Spaces.\n\npub mod b;\npub mod d_e;\n";
        let with = |module: &str| with_module(declared, module).lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(with("a"), ["pub mod a;", "pub mod b;", "pub mod d_e;"]);
        assert_eq!(with("c"), ["pub mod b;", "pub mod c;", "pub mod d_e;"]);
        assert_eq!(with("d_f"), ["pub mod b;", "pub mod d_e;", "pub mod d_f;"]);
        assert_eq!(with_module("pub mod b1;\n", "b10"), "pub mod b1;\npub mod b10;\n");
        assert_eq!(with_module("//! None yet.\n", "a"), "//! None yet.\npub mod a;\n");
    }

    #[test]
    fn every_template_has_the_names_that_are_replaced() {
        for kind in Kind::ALL {
            let (name, text) = (format!("template-{kind}"), template(kind));
            for spelling in [name.clone(), snake(&name), camel(&name)] {
                assert!(text.contains(&spelling), "{spelling}");
            }
            let renamed = rename(text, &name, "my-plugin");
            assert!(!renamed.to_lowercase().contains("template"), "{kind}");
            assert!(row(kind, "my-plugin", &renamed).split('|').all(|cell| cell.is_empty() || cell.len() > 3));
        }
    }
}
