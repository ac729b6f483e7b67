//! The network in the page, in a browser.

mod browser;
#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use browser::Browser;
use litesnn_engine::file::{self, Provenance};
use litesnn_engine::{Network, Reference, sample};
use litesnn_framework::record::files;
use litesnn_reports::{Request, report};
use support::Made;

/// The page of one trial, whose folder has a packed file.
fn page(runs: &Path, file: &[u8]) -> String {
    let trial = Made::searched("pictures", "lite", 0);
    trial.write(runs);
    std::fs::write(trial.folder(runs).join(files::NETWORK), file).unwrap();
    let request = Request { runs: runs.into(), out: runs.join("report"), paper: Vec::new() };
    std::fs::read_to_string(report(&request).unwrap().page).unwrap()
}

/// The page in a browser, once its network has answered or has said why it cannot.
fn played(page: &Path) -> Option<Browser> {
    let mut browser = Browser::open(page)?;
    browser.until("document.querySelector('.player[data-logits], .player > .error')");
    Some(browser)
}

/// The page as it is now.
fn now(browser: &mut Browser) -> String {
    browser.value("document.documentElement.outerHTML").as_str().unwrap().to_owned()
}

/// The numbers of an attribute of the player, `digits` hexadecimal digits each.
fn numbers(page: &str, attribute: &str, digits: usize) -> Vec<u32> {
    let begins = format!("{attribute}=\"");
    let value = page.split(&begins).nth(1).unwrap_or_else(|| panic!("no {attribute}: {}", said(page)));
    let value = value.split('"').next().unwrap();
    let number = |place: usize| u32::from_str_radix(&value[place..place + digits], 16).unwrap();
    (0..value.len()).step_by(digits).map(number).collect()
}

/// The message that stands in the page in place of a player.
fn said(page: &str) -> &str {
    page.split("class=\"note error\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("and no message")
}

fn logits(network: &Network, pixels: &[u32]) -> Vec<u32> {
    let pixels: Vec<f32> = pixels.iter().map(|byte| *byte as f32 / 255.0).collect();
    Reference::new(network).run(&pixels).unwrap().logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn a_network_in_the_page_answers_as_the_engine_to_the_bit() {
    let runs = tempfile::tempdir().unwrap();
    let network = sample::network();
    page(runs.path(), &sample::file());
    let Some(mut browser) = played(&runs.path().join("report/index.html")) else { return };
    let page = now(&mut browser);
    let pixels = numbers(&page, "data-pixels", 2);
    assert_eq!(pixels.len(), network.image.shape.iter().product::<usize>());
    assert!(pixels.iter().any(|byte| *byte > 200), "the first picture is not empty");
    assert_eq!(numbers(&page, "data-logits", 8), logits(&network, &pixels));
}

/// What the network saw after something was done to the page, to which it answers as the engine does.
fn seen(browser: &mut Browser, network: &Network, act: impl FnOnce(&mut Browser)) -> Vec<u32> {
    browser.value("delete document.querySelector('.player').dataset.logits");
    act(browser);
    browser.until("document.querySelector('.player[data-logits]')");
    // The last of several events that came in one frame.
    browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))");
    let page = now(browser);
    let pixels = numbers(&page, "data-pixels", 2);
    assert_eq!(numbers(&page, "data-logits", 8), logits(network, &pixels));
    pixels
}

/// A bitmap of grey pixels, three bytes each, lines from the last to the first.
fn bitmap([height, width]: [usize; 2], grey: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let line = (3 * width).next_multiple_of(4);
    let mut file = b"BM".to_vec();
    for number in [(54 + line * height) as u32, 0, 54, 40, width as u32, height as u32] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1u16, 24].into_iter().flat_map(u16::to_le_bytes));
    file.resize(54, 0);
    for y in (0..height).rev() {
        let pixels = (0..width).flat_map(|x| [grey(y, x); 3]);
        file.extend(pixels.chain(std::iter::repeat(0)).take(line));
    }
    file
}

#[test]
fn a_stroke_a_chosen_picture_and_a_dropped_one_are_what_the_network_sees() {
    let runs = tempfile::tempdir().unwrap();
    let network = sample::network();
    let [_, height, width] = network.image.shape;
    page(runs.path(), &sample::file());
    let Some(mut browser) = played(&runs.path().join("report/index.html")) else { return };
    let browser = &mut browser;

    let cleared = seen(browser, &network, |browser| browser.stroke(".clear", &[(0.5, 0.5)]));
    assert_eq!(cleared, vec![0; height * width]);
    let line = seen(browser, &network, |browser| browser.stroke(".drawing", &[(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)]));
    let at = |y: usize, x: usize| line[y * width + x];
    assert!((8..20).all(|x| at(13, x) > 200 || at(14, x) > 200), "no line from left to right: {line:?}");
    assert_eq!([at(2, 14), at(25, 14)], [0, 0], "above and below the line");

    // Of the network's own size, so that no pixel is between two.
    let file = |name: &str, bytes: &[u8]| {
        let path = runs.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let ramp = |y: usize, x: usize| (7 * y + x) as u8;
    let mirrored = |y: usize, x: usize| (7 * y + width - 1 - x) as u8;
    let pixels = |grey: &dyn Fn(usize, usize) -> u8| -> Vec<u32> {
        (0..height * width).map(|place| u32::from(grey(place / width, place % width))).collect()
    };
    let chosen = file("ramp.bmp", &bitmap([height, width], ramp));
    let dropped = file("mirrored.bmp", &bitmap([height, width], mirrored));
    let input = ".player input[type=file]";
    assert_eq!(seen(browser, &network, |browser| browser.choose_file(input, &chosen)), pixels(&ramp));
    assert_eq!(seen(browser, &network, |browser| browser.drop_file(".drawing", &dropped)), pixels(&mirrored));

    // What is no picture is named, and the image stays.
    let notes = file("notes.txt", b"no picture");
    let said = |browser: &mut Browser| browser.value("document.querySelector('.said').textContent");
    browser.drop_file(".drawing", &notes);
    browser.until("document.querySelector('.said').textContent");
    assert_eq!(said(browser), "notes.txt is no picture that this browser reads.");
    assert_eq!(numbers(&now(browser), "data-pixels", 2), pixels(&mirrored));
    assert_eq!(seen(browser, &network, |browser| browser.drop_file(".drawing", &chosen)), pixels(&ramp));
    assert_eq!(said(browser), "");
    browser.choose_file(input, &notes);
    browser.until("document.querySelector('.said').textContent");
}

/// The page once offered to draw for a network of sounds, and said nothing of a large one.
#[test]
fn a_network_that_the_page_cannot_run_has_a_line_that_says_why() {
    let sounds = Provenance { input: "{}".into(), ..Provenance::default() };
    let sounds = file::write(&sample::network(), &sounds).unwrap();
    for (file, why) in [
        (sounds, "the network reads sounds, and only pictures can be drawn; `litesnn infer --sound` runs it."),
        (
            vec![0; 300_000],
            "the packed file has 300.0 kB, and a page runs files of up to 262.1 kB; `litesnn infer` runs it.",
        ),
    ] {
        let runs = tempfile::tempdir().unwrap();
        let page = page(runs.path(), &file);
        assert!(page.contains(&format!("<p class=\"note\">lite, seed 0: {why}</p>")), "{why}");
        assert!(!page.contains("class=\"player\"") && !page.contains("id=\"engine\""), "nothing runs");
    }
}

#[test]
fn a_damaged_file_says_so_in_the_page() {
    let runs = tempfile::tempdir().unwrap();
    page(runs.path(), b"no network");
    let Some(mut browser) = played(&runs.path().join("report/index.html")) else { return };
    let page = now(&mut browser);
    assert!(said(&page).starts_with("error: "), "{}", said(&page));
}

/// The page works without a network: it asks nobody for a file.
#[test]
fn a_page_with_a_network_names_no_other_place() {
    let runs = tempfile::tempdir().unwrap();
    let page = page(runs.path(), b"no network");
    assert!(page.contains("<h3>Try it</h3>") && page.contains("id=\"engine\""));
    for outside in ["src=\"", "<link", "@import", "fetch(", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
