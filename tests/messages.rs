//! What the command says, as a user sees it. After a deliberate change:
//! `INSTA_UPDATE=always TRYCMD=overwrite cargo test --release --workspace --test messages`, and
//! read the difference.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use litesnn_framework::plugin::{Kind, registered};
use litesnn_plugins as _;
use support::{litesnn, manifest, root, stderr, stdout, succeed};

/// A folder for a user to stand in, with a manifest that is right.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        fs::copy(manifest("tiny.toml"), desk.path().join("tiny.toml")).unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A manifest that differs from the right one in one place.
    fn changed(good: &str, bad: &str) -> Desk {
        let desk = Desk::new();
        let text = fs::read_to_string(manifest("tiny.toml")).unwrap();
        assert!(text.contains(good), "{good}");
        fs::write(desk.path().join("changed.toml"), text.replacen(good, bad, 1)).unwrap();
        desk
    }

    /// A manifest that has more below it than the right one.
    fn with(more: &str) -> Desk {
        let text = fs::read_to_string(manifest("tiny.toml")).unwrap();
        Desk::new().file("changed.toml", format!("{text}\n{more}"))
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Desk {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// What the command says here, in the form of a shell session; `NAME=value` before the command
    /// is an environment variable.
    fn says(&self, line: &str) -> String {
        let mut words = line.split_whitespace().peekable();
        let mut command = litesnn();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            command.env(name, value);
            words.next();
        }
        let output = command.args(words).current_dir(self.path()).output().unwrap();
        let (out, err) = (stdout(&output), stderr(&output));
        for sign in ["panicked", "backtrace", "Exception raised", "frame #", "c10::", "internal error"] {
            assert!(!out.contains(sign) && !err.contains(sign), "{out}\n{err}");
        }
        let code = output.status.code().expect("it was not killed");
        self.redacted(&format!("$ {}\n{out}{err}exit code {code}", shell(line)))
    }

    /// Without what differs between machines, and without the lists of plugins, which grow.
    fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (folder, name) in [(self.path(), "[HERE]"), (root(), "[PROJECT]")] {
            text = text.replace(folder.to_str().unwrap(), name);
        }
        let names = |kind: Option<Kind>| {
            let chosen = registered().into_iter().filter(|plugin| kind.is_none_or(|kind| plugin.kind == kind));
            chosen.map(|plugin| format!("`{}`", plugin.name)).collect::<Vec<_>>().join(", ")
        };
        text = text.replace(&names(None), "[EVERY PLUGIN]");
        for kind in Kind::ALL {
            let name = format!(": [EVERY {}]", kind.section().to_uppercase());
            text = text.replace(&format!(": {}", names(Some(kind))), &name);
        }
        // The hash in a trial's name changes with the versions of plugins.
        let parts: Vec<&str> = text.split("-s0-").collect();
        let named = parts[1..].iter().map(|part| format!("-s0-[HASH]{}", &part[16..]));
        text = parts[..1].iter().map(|part| (*part).to_owned()).chain(named).collect();
        text.split('\n').map(without_sizes).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A line without what a plan says of the machine and of the versions of plugins.
fn without_sizes(line: &str) -> String {
    if let Some((before, _)) = line.split_once(" has ").filter(|_| line.ends_with(" of memory")) {
        return format!("{before} has [N] of memory");
    }
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for index in 0..words.len() {
        let is_hash = words[index].len() == 16 && words[index].chars().all(|c| c.is_ascii_hexdigit());
        if is_hash {
            words[index] = "[HASH..........]".into();
        } else if words[index].starts_with('~') && words.get(index + 1).is_some_and(|unit| unit == "MB") {
            words[index] = "~[N]".into();
        }
    }
    words.join(" ")
}

/// The line as it is typed.
fn shell(line: &str) -> String {
    match line.split_once(' ') {
        Some((variable, rest)) if variable.contains('=') => format!("{variable} litesnn {rest}"),
        _ => format!("litesnn {line}"),
    }
}

/// Checks a message against `tests/messages/NAME.snap`.
macro_rules! say {
    ($name:ident, $desk:expr, $line:expr) => {
        #[test]
        fn $name() {
            snapshot(stringify!($name), $desk.says($line));
        }
    };
}

const TO_RUN: &str = "run changed.toml --device cpu --threads 1 --quiet";
/// Two files that extend each other.
const CIRCLE: (&str, &str) = ("extends = \"base.toml\"\n", "# Shared by all.\nextends = \"changed.toml\"\n");

say!(unknown_plugin_in_a_manifest, Desk::changed("score-prune =", "score-purne ="), TO_RUN);
say!(unknown_key, Desk::changed("[retrain]\nepochs", "[retrain]\nepoch"), TO_RUN);
say!(unknown_section, Desk::changed("[retrain]", "[retrian]"), TO_RUN);
say!(missing_section, Desk::changed("[timesteps.compressive]\nmax = 2\nwarmup = 1", ""), TO_RUN);
say!(wrong_type, Desk::changed("train = 40", "train = \"forty\""), TO_RUN);
say!(value_out_of_range, Desk::changed("rate = 0.8", "rate = 1.5"), TO_RUN);
say!(
    two_settings_of_one_decay,
    Desk::changed("stem_stride = 2", "stem_stride = 2\ntau = 0.5\ntime_constant = 2.0"),
    TO_RUN
);
say!(
    a_width_that_the_surrogate_has_not,
    Desk::changed("stem_stride = 2", "stem_stride = 2\nsurrogate = \"triangle\"\nalpha = 2.0"),
    TO_RUN
);
say!(several_at_once, Desk::changed("nodes = 2\nchannels", "nodes = 0\nchanels"), TO_RUN);
say!(
    axis_that_is_not_there,
    Desk::with("[axis.scale]\nsmall = { rate = 0.9 }\n[[variant]]\nname = \"x-{scle}\"\n"),
    TO_RUN
);
say!(
    key_of_an_axis_that_is_not_there,
    Desk::with(
        "[axis.scale]\nsmall = { rate = 0.9 }\n[[variant]]\nname = \"x-{scale}\"\n\
         set = { \"compressor.score-prune.rate\" = \"{scale.rat}\" }\n"
    ),
    TO_RUN
);
say!(
    set_of_a_value_of_an_axis,
    Desk::with(
        "[axis.scale]\nsmall = { rate = 0.9 }\n[[variant]]\nname = \"x-{scale}\"\n\
         set = { \"compressor.score-prune.rate\" = \"{scale.rate}\" }\n"
    ),
    "plan changed.toml --set axis.scale.small.rate=2"
);
say!(set_of_a_comparison, Desk::new(), "plan tiny.toml --set compare=[{a=\"lite-snn\",b=\"lite-snm\"}]");
say!(
    no_image_is_held_out,
    Desk::changed("[optimizer.joint]", "[optimizer.joint]\nheld_out = true"),
    "plan changed.toml --set search.samples=40"
);
say!(
    multiplier_that_nothing_reads,
    Desk::changed("[optimizer.joint]", "[optimizer.joint]\nmultiplier_rate = 0.5"),
    "plan changed.toml"
);
say!(variant_that_is_not_there, Desk::changed("from = \"lite-snn\"", "from = \"lite\""), TO_RUN);
say!(not_toml, Desk::changed("epochs = 2", "epochs = = 2"), TO_RUN);
say!(value_of_toml_cut_short, Desk::changed("cells = [0, 1]", "cells = [0, 1"), TO_RUN);
say!(missing_manifest, Desk::new(), "run nowhere.toml");
say!(two_plugins_where_one_belongs, Desk::with("[timesteps.fixed]\nsteps = 4\n"), TO_RUN);
say!(
    swept_key_that_nothing_reads,
    Desk::with("[sweep]\n\"optimizer.joit.lambda_memory\" = [1e-7, 1e-6]\nretrain.epoch = [1, 2]\n"),
    TO_RUN
);
say!(
    section_that_nothing_reads,
    Desk::changed("remove = [\"optimizer\", \"search\"]", "remove = [\"optimizer\"]"),
    TO_RUN
);
say!(circle_of_extends, Desk::new().file("changed.toml", CIRCLE.0).file("base.toml", CIRCLE.1), TO_RUN);
say!(extended_file_that_is_not_there, Desk::new().file("changed.toml", "extends = \"bases.toml\"\n"), TO_RUN);
say!(not_utf_8, Desk::new().file("changed.toml", b"[experiment]\nname = \"caf\xe9\"\n"), TO_RUN);
say!(newer_version, Desk::changed("[experiment]", "version = 2\n\n[experiment]"), TO_RUN);
say!(error_in_a_profile, Desk::with("[profile.smoke]\nretrain.epochs = 0\n"), "plan changed.toml --profile smoke");
say!(
    error_in_an_extended_file,
    Desk::changed("batch_size = 20\n\n[retrain]", "batch_size = \"20\"\n\n[retrain]")
        .file("child.toml", "extends = \"changed.toml\"\n"),
    "plan child.toml"
);
say!(error_in_the_environment, Desk::new(), "LITESNN_RETRAIN__EPOCHS=many plan tiny.toml");
say!(unknown_key_in_the_environment, Desk::new(), "LITESNN_COMPRESSOR__SCORE_PRUNE__RAET=0.5 plan tiny.toml");
say!(set_out_of_range, Desk::new(), "plan tiny.toml --set compressor.score-prune.rate=1.5");
say!(
    set_that_a_variant_overrules,
    Desk::with("[[variant]]\nname = \"long\"\nset = { \"retrain.epochs\" = 4 }\n"),
    "plan changed.toml --set retrain.epochs=3"
);
say!(
    one_problem_in_every_layer,
    Desk::with("[profile.smoke]\nsearch.clip = \"none\"\n[sweep]\nretrain.momentum = [0.5, 1.5]\n")
        .file("child.toml", "extends = \"changed.toml\"\n[retrain]\nepoch = 3\n"),
    "LITESNN_SEARCH__WEIGHT_DECAY=-1 plan child.toml --profile smoke --set space.spike-dhs.nodes=none"
);
say!(a_folder_as_manifest, Desk::new(), "plan .");
say!(unknown_profile, Desk::new(), "run tiny.toml --profile smoke");
say!(set_of_an_unknown_key, Desk::new(), "run tiny.toml --set retrain.epoch=3");
say!(set_of_a_wrong_type, Desk::new(), "run tiny.toml --set retrain.epochs=many");
say!(set_without_a_value, Desk::new(), "run tiny.toml --set retrain.epochs");
say!(unknown_device, Desk::new(), "run tiny.toml --device tpu");
say!(no_threads, Desk::new(), "run tiny.toml --threads 0");
say!(no_manifest_given, Desk::new(), "run");
say!(unknown_command, Desk::new(), "ruin tiny.toml");
say!(unknown_plugin, Desk::new(), "plugins score-purne");
say!(more_images_than_there_are, Desk::changed("train = 40", "train = 4000"), TO_RUN);
say!(no_such_root, Desk::changed("train = 40", "root = \"elsewhere\"\ntrain = 40"), TO_RUN);
say!(nothing_to_report, Desk::new(), "report");
say!(nowhere_to_report_from, Desk::new(), "report elsewhere");
say!(plan_of_two_variants, Desk::new(), "plan tiny.toml --device cpu");
say!(explain_a_manifest, Desk::new(), "explain tiny.toml --set retrain.epochs=3");
say!(explain_a_setting, Desk::new(), "explain tiny.toml search.epochs --set search.epochs=3");
say!(explain_a_section, Desk::new(), "LITESNN_TIMESTEPS__COMPRESSIVE__MAX=3 explain tiny.toml timesteps");
say!(explain_what_only_a_variant_sets, Desk::new(), "explain tiny.toml timesteps.fixed");
say!(explain_an_unknown_setting, Desk::new(), "explain tiny.toml retrain.epoch");

#[test]
fn empty_manifest() {
    let desk = Desk::new();
    fs::write(desk.path().join("changed.toml"), "").unwrap();
    snapshot("empty_manifest", desk.says(TO_RUN));
}

#[test]
fn runs_is_a_file() {
    let desk = Desk::new();
    fs::write(desk.path().join("runs"), "").unwrap();
    snapshot("runs_is_a_file", desk.says("run tiny.toml --device cpu --threads 1 --quiet"));
}

#[test]
fn diverged() {
    let desk = Desk::new();
    let said = desk.says("run tiny.toml --device cpu --threads 1 --quiet --set search.learning_rate=1e38");
    let said = said.replace("became inf", "became [NO NUMBER]").replace("became NaN", "became [NO NUMBER]");
    // How large depends on the processor.
    let parts: Vec<&str> = said.split("largest weight became ").collect();
    let numbers = parts[1..].iter().filter_map(|part| part.split_once(", in layer")).map(|(_, rest)| rest);
    let said =
        numbers.fold(parts[0].to_owned(), |said, rest| format!("{said}largest weight became [N], in layer{rest}"));
    snapshot("diverged", said);
}

#[test]
fn device_that_is_not_there() {
    let said = Desk::new().says("run tiny.toml --device cuda:99");
    // What is missing depends on the machine.
    let (before, rest) = said.split_once("was asked for, and ").unwrap();
    let (why, after) = rest.split_once("\n  help: ").unwrap();
    assert!(["CUDA", "NVIDIA"].iter().any(|what| why.contains(what)), "{why}");
    snapshot("device_that_is_not_there", format!("{before}was asked for, and [WHY]\n  help: {after}"));
}

/// The bundled files, one of them changed.
fn damaged(name: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Desk {
    let desk = Desk::changed("train = 40", "root = \"data\"\ntrain = 40");
    let data = desk.path().join("data");
    fs::create_dir(&data).unwrap();
    for (file, bytes) in support::files(&root().join("experiments/data/fashion-mnist")) {
        if file.ends_with(".gz") {
            fs::write(data.join(file), bytes).unwrap();
        }
    }
    let path = data.join(name);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
    desk
}

#[test]
fn data_file_cut_short() {
    let desk = damaged("t10k-images-idx3-ubyte.gz", |bytes| bytes.truncate(bytes.len() / 2));
    snapshot("data_file_cut_short", desk.says(TO_RUN));
}

#[test]
fn data_file_of_another_kind() {
    let desk = damaged("train-labels-idx1-ubyte.gz", |bytes| *bytes = b"<html>not found</html>".to_vec());
    snapshot("data_file_of_another_kind", desk.says(TO_RUN));
}

#[test]
fn data_file_missing() {
    let desk = damaged("train-images-idx3-ubyte.gz", |_| ());
    fs::remove_file(desk.path().join("data/train-images-idx3-ubyte.gz")).unwrap();
    snapshot("data_file_missing", desk.says(TO_RUN));
}

fn snapshot(name: &str, said: String) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "messages" }, {
        insta::assert_snapshot!(name, said);
    });
}

/// `tests/messages/*.trycmd`: the help of every command, and the description of plugins.
#[test]
fn sessions() {
    trycmd::TestCases::new().env("NO_COLOR", "1").env("COLUMNS", "100").case("tests/messages/*.trycmd");
}

#[test]
fn the_help_of_every_command_is_a_session() {
    let sessions = fs::read_to_string(root().join("tests/messages/help.trycmd")).unwrap();
    let help = stdout(&succeed(litesnn().arg("--help")));
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        assert!(
            sessions.contains(&format!("$ litesnn {command} --help\n")),
            "tests/messages/help.trycmd lacks {command}"
        );
    }
}

#[test]
fn the_list_of_plugins_has_every_one() {
    let list = stdout(&succeed(litesnn().arg("plugins")));
    for plugin in registered() {
        assert!(list.contains(plugin.name), "{} is not in\n{list}", plugin.name);
        let described = stdout(&succeed(litesnn().args(["plugins", plugin.name])));
        for text in [plugin.name, plugin.summary, plugin.paper, plugin.examples[0]] {
            assert!(described.contains(text), "{text} is not in\n{described}");
        }
    }
}
