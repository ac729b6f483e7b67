//! An option of sbatch that a manifest has in `options`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Options that the launcher sets, or that would keep it from finding its jobs again: long name,
/// short name, and why.
const OWN: [(&str, char, &str); 16] = [
    ("job-name", 'J', "the launcher finds its jobs by the name that it gives them"),
    ("array", 'a', "the launcher sets it: `at_once` is the number of tasks at once"),
    ("output", 'o', "the launcher sets it: logs are in the launch's folder"),
    ("error", 'e', "the launcher sets it: logs are in the launch's folder"),
    ("open-mode", '\0', "the launcher sets it"),
    ("requeue", '\0', "the launcher sets it"),
    ("no-requeue", '\0', "the launcher requeues what has to make room"),
    ("signal", '\0', "the launcher sets it: `warning` is the time before the end"),
    ("time", 't', "the launcher sets it: write `time`"),
    ("ntasks", 'n', "the launcher sets it: a trial is one task"),
    ("cpus-per-task", 'c', "the launcher sets it: write `cores`"),
    ("clusters", 'M', "the launcher asks the queue of one cluster: `SLURM_CLUSTERS` in the environment names it"),
    ("wait", 'W', "sbatch would return when all has ended: `litesnn run --wait` waits"),
    ("wrap", '\0', "the launcher has a script of its own"),
    ("test-only", '\0', "nothing would be submitted"),
    ("parsable", '\0', "the launcher sets it"),
];
/// Short options without a value: more letters may follow them.
const SWITCHES: &str = "hHkOQsvVW";

/// An option of sbatch, as one word of its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbatchOption {
    written: String,
    word: String,
}

impl SbatchOption {
    /// `--name`, `--name=value` or `-xvalue`.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Reads `--name`, `--name=value`, `--name value`, `-x`, `-xvalue` or `-x value`; a value in
    /// quotes may hold blanks.
    fn parse(written: &str) -> Result<SbatchOption, String> {
        let words = words(written).ok_or_else(|| format!("`{written}` has a quote that does not end"))?;
        let option = |word: String| Ok(SbatchOption { written: written.to_owned(), word });
        if written.contains(char::is_control) {
            return Err(format!("`{}` holds a line break or another control character", written.escape_debug()));
        }
        let Some(first) = words.first().filter(|word| word.len() > 1 && word.starts_with('-') && *word != "--") else {
            return Err(format!("`{written}` is no option of sbatch; an option reads `--qos=low`"));
        };
        if let Some((name, why)) = own(first) {
            return Err(format!("`{written}` is `--{name}`, and not for `options`: {why}"));
        }
        let long = first.strip_prefix("--");
        let takes_more = long.map_or(first.chars().count() == 2, |name| !name.contains('='));
        match &words[1..] {
            [] => option(first.clone()),
            [value] if takes_more && !value.starts_with('-') => {
                let between = if long.is_some() { "=" } else { "" };
                option(format!("{first}{between}{value}"))
            }
            [next, ..] if next.starts_with('-') => {
                Err(format!("`{written}` is more than one option; each stands for itself, in quotes of its own"))
            }
            _ => Err(format!(
                "`{written}` has a blank in its value, and sbatch would stop reading there; leave it out, or quote the value"
            )),
        }
    }
}

/// The option of the launcher that a word is, by its name, the beginning of its name, or its
/// letter.
fn own(word: &str) -> Option<(&'static str, &'static str)> {
    let found = |(name, _, why): &(&'static str, char, &'static str)| (*name, *why);
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or(long);
        return OWN.iter().find(|own| !name.is_empty() && own.0.starts_with(name)).map(found);
    }
    for letter in word.chars().skip(1) {
        if let Some(own) = OWN.iter().find(|own| own.1 == letter) {
            return Some(found(own));
        }
        if !SWITCHES.contains(letter) {
            break;
        }
    }
    None
}

/// The words of a line as a shell reads them, without backslashes; `None` where a quote does not
/// end.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

impl<'de> Deserialize<'de> for SbatchOption {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        SbatchOption::parse(&String::deserialize(input)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for SbatchOption {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_becomes_one_word_however_it_is_spelt() {
        for (written, word) in [
            ("--qos=low", "--qos=low"),
            ("--qos low", "--qos=low"),
            ("-q low", "-qlow"),
            ("-qlow", "-qlow"),
            ("--exclusive", "--exclusive"),
            ("--comment=\"two words\"", "--comment=two words"),
            ("--constraint='a|b'", "--constraint=a|b"),
            ("--mem=4G", "--mem=4G"),
            ("--time-min=10", "--time-min=10"),
        ] {
            assert_eq!(SbatchOption::parse(written).map(|option| option.word), Ok(word.to_owned()), "{written}");
        }
    }

    /// With a name of the user's, the launcher found none of its jobs and submitted the same work
    /// again.
    #[test]
    fn options_of_the_launcher_and_blanks_in_values_are_refused_in_every_spelling() {
        for written in ["--job-name=x", "--job-name x", "-J x", "-Jx", "-HJx", "--job-n=x", "--jo x"] {
            let error = SbatchOption::parse(written).unwrap_err();
            assert!(error.contains(&format!("`{written}` is `--job-name`")), "{error}");
        }
        for written in
            ["-a 1-3", "--array=1", "-o log", "-t1", "--requeue", "--no-requeue", "-W", "-n2", "-c 4", "-M all"]
        {
            assert!(SbatchOption::parse(written).unwrap_err().contains("and not for `options`"), "{written}");
        }
        for (written, why) in [
            ("--mem=4 G", "has a blank in its value"),
            ("--mem 4 G", "has a blank in its value"),
            ("--exclusive --hold", "is more than one option"),
            ("qos=low", "is no option of sbatch"),
            ("", "is no option of sbatch"),
            ("--comment=\"x", "a quote that does not end"),
            ("--qos=low\n#SBATCH -J x", "a line break"),
        ] {
            let error = SbatchOption::parse(written).unwrap_err();
            assert!(error.contains(why), "{written}: {error}");
        }
    }
}
