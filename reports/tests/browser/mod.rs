//! Chromium without a window, driven by the DevTools protocol over a pair of pipes: pointer, drop and
//! file input are those of a browser, and not events that a script made up.
//!
//! A message is JSON and ends with a zero byte. Chromium reads commands from descriptor 3 and writes
//! answers to descriptor 4, which a shell connects with its own input and output.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a page has for anything that is waited for, in milliseconds.
const PATIENCE: u32 = 20_000;

/// A browser with one page.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The page's, once it is attached.
    session: Option<String>,
    last: i64,
    _profile: TempDir,
}

impl Browser {
    /// The page of a file; `None` where there is no Chromium, and the test is skipped.
    pub fn open(page: &Path) -> Option<Browser> {
        let profile = tempfile::tempdir().unwrap();
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-component-update \
                     --disable-background-networking --disable-sync --window-size=1200,1600 --remote-debugging-pipe";
        let mut shell = Command::new("sh");
        shell.args(["-c", "command -v chromium >&2 && exec chromium \"$@\" 3<&0 4>&1 >&2", "chromium"]);
        shell.args(flags.split_whitespace()).arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process =
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("there is a shell");
        let (commands, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut browser = Browser { process, commands, answers, session: None, last: 0, _profile: profile };
        let Some(target) = browser.answer("Target.createTarget", json!({ "url": "about:blank" })) else {
            assert_eq!(browser.process.wait().unwrap().code(), Some(127), "Chromium ended by itself");
            // Not `eprintln!`, which the harness keeps to itself.
            #[allow(clippy::explicit_write)]
            writeln!(io::stderr(), "test skipped: there is no `chromium`").unwrap();
            return None;
        };
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        Some(browser)
    }

    /// What the protocol answers.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.answer(method, parameters).unwrap_or_else(|| panic!("{method}: Chromium ended"))
    }

    /// The same; `None` where the process has ended.
    fn answer(&mut self, method: &str, parameters: Value) -> Option<Value> {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).ok()?;
        loop {
            let mut message = Vec::new();
            self.answers.read_until(0, &mut message).ok()?;
            message.pop()?;
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Some(message["result"].clone());
            }
        }
    }

    /// The value of an expression, or what the promise that it is becomes.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until a condition holds.
    pub fn until(&mut self, condition: &str) {
        self.value(&format!(
            "new Promise((done, fail) => {{
               const begin = Date.now();
               const look = () => {{
                 if ({condition}) done();
                 else if (Date.now() - begin > {PATIENCE}) fail(new Error(document.body?.innerText));
                 else setTimeout(look, 10);
               }};
               look();
             }})"
        ));
    }

    /// The pointer pressed at the first of places in an element, moved over the others and released;
    /// places are fractions of the element's width and height.
    pub fn stroke(&mut self, selector: &str, places: &[(f64, f64)]) {
        let places: Vec<[f64; 2]> = places.iter().map(|place| self.point(selector, *place)).collect();
        let mut pointer = |kind: &str, [x, y]: [f64; 2], buttons: i32| {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        };
        pointer("mousePressed", places[0], 1);
        places[1..].iter().for_each(|place| pointer("mouseMoved", *place, 1));
        pointer("mouseReleased", places[places.len() - 1], 0);
    }

    /// Files dropped at the middle of an element.
    pub fn drop_file(&mut self, selector: &str, file: &Path) {
        let [x, y] = self.point(selector, (0.5, 0.5));
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
            self.call("Input.dispatchDragEvent", json!({ "type": kind, "x": x, "y": y, "data": data }));
        }
    }

    /// A file chosen in an input.
    pub fn choose_file(&mut self, selector: &str, file: &Path) {
        let document = self.call("DOM.getDocument", json!({}));
        let root = &document["root"]["nodeId"];
        let input = self.call("DOM.querySelector", json!({ "nodeId": root, "selector": selector }));
        self.call("DOM.setFileInputFiles", json!({ "files": [file], "nodeId": input["nodeId"] }));
    }

    /// Where a place of an element lies in the window.
    fn point(&mut self, selector: &str, (x, y): (f64, f64)) -> [f64; 2] {
        let place = self.value(&format!(
            "(() => {{
               const element = document.querySelector({selector:?});
               element.scrollIntoView({{ block: \"center\" }});
               const box = element.getBoundingClientRect();
               return [box.left + {x} * box.width, box.top + {y} * box.height];
             }})()"
        ));
        [0, 1].map(|axis| place[axis].as_f64().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when it is asked to, and with it the processes that it started.
        let _ = self.commands.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}
