//! The arguments of a vLLM server, from the command and arguments of a container.

use std::collections::BTreeMap;

use scaletwin_core::input::Node;

use super::objects::{at, elements, scalar};

/// What a container is started with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Options by their names, as vLLM spells them; a switch has an empty text.
    options: BTreeMap<String, String>,
    /// What stands alone after `serve`, or alone at all.
    model: Option<String>,
    /// Whether this is a vLLM server.
    pub vllm: bool,
}

impl Arguments {
    /// Those of a container.
    pub(super) fn of(container: &Node) -> Arguments {
        let image = container.get("image").and_then(Node::as_text).unwrap_or("");
        let known = environment(container);
        let texts = ["command", "args"].into_iter().flat_map(|key| elements(container.get(key)));
        let texts = texts.filter_map(scalar).map(|text| expanded(&text, &known));
        let words: Vec<String> = texts.flat_map(|text| split(&text)).collect();
        Arguments::read(&words, image.contains("vllm"))
    }

    fn read(words: &[String], image: bool) -> Arguments {
        let server = words.iter().position(|word| {
            word == "vllm" || word.ends_with("/vllm") || word.starts_with("vllm.entrypoints")
        });
        let mut found = Arguments { vllm: image || server.is_some(), ..Arguments::default() };
        let mut words = words.iter().skip(server.map_or(0, |at| at + 1)).peekable();
        while let Some(word) = words.next() {
            // What comes after these belongs to another program.
            if ["&&", "||", ";", "|"].contains(&word.as_str()) {
                break;
            }
            let Some(option) = word.strip_prefix("--") else {
                if word != "serve" && !word.starts_with('-') && found.model.is_none() {
                    found.model = Some(word.clone());
                }
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let value = words.next_if(|next| !next.starts_with("--") && *next != "&&");
                    (option, value.cloned().unwrap_or_default())
                }
            };
            found.options.insert(name.replace('_', "-"), value);
        }
        found
    }

    /// The model that is served.
    pub(super) fn model(&self) -> Option<&str> {
        let positional = self.model.as_deref().filter(|_| self.vllm);
        self.options.get("model").map(String::as_str).or(positional).filter(|name| !name.is_empty())
    }

    /// The value of an option.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number above 0, as vLLM reads it: `16384`, `16k` (of 1000) or `16K` (of 1024).
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        let text = self.get(name)?;
        let (digits, unit) = match text.char_indices().last()? {
            (at, 'k') => (&text[..at], 1_000.0),
            (at, 'K') => (&text[..at], 1_024.0),
            (at, 'm') => (&text[..at], 1e6),
            (at, 'M') => (&text[..at], 1_048_576.0),
            _ => (text, 1.0),
        };
        let number = digits.parse::<f64>().ok()? * unit;
        let whole = (1.0..=f64::from(u32::MAX)).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the range of u32"
        )]
        whole.then_some(number as u32)
    }

    /// A share above 0 and not above 1.
    pub(super) fn share(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0)
    }

    /// A switch: `--name`, `--no-name`, `--name=false`.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        if self.options.contains_key(&format!("no-{name}")) {
            return Some(false);
        }
        let value = self.options.get(name)?;
        Some(!["false", "0"].contains(&value.to_ascii_lowercase().as_str()))
    }

    /// The options besides these, and besides those that change nothing here.
    pub(super) fn besides(&self, known: &[&str]) -> Vec<&str> {
        let names = self.options.keys().map(String::as_str);
        names
            .filter(|name| {
                let name = name.strip_prefix("no-").unwrap_or(name);
                !known.contains(&name) && !IDLE.contains(&name)
            })
            .collect()
    }
}

/// Options that change nothing of what is modelled.
const IDLE: [&str; 24] = [
    "api-key",
    "allowed-origins",
    "chat-template",
    "code-revision",
    "config-format",
    "disable-log-requests",
    "disable-log-stats",
    "disable-uvicorn-access-log",
    "download-dir",
    "enable-log-requests",
    "host",
    "hf-token",
    "load-format",
    "log-level",
    "middleware",
    "port",
    "revision",
    "root-path",
    "seed",
    "ssl-certfile",
    "tokenizer",
    "tokenizer-mode",
    "trust-remote-code",
    "uvicorn-log-level",
];

/// The environment of a container, as far as it is written there.
fn environment(container: &Node) -> BTreeMap<String, String> {
    let entry = |node: &Node| Some((at(node, &["name"])?.as_text()?.to_owned(), scalar(node.get("value")?)?));
    elements(container.get("env")).iter().filter_map(entry).collect()
}

/// The text with `$(NAME)`, `${NAME}` and `$NAME` replaced where they are known.
fn expanded(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    // Longer names first, so that $MODEL does not take the front of $MODEL_LEN.
    let mut names: Vec<&String> = known.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names {
        for form in [format!("$({name})"), format!("${{{name}}}"), format!("${name}")] {
            text = text.replace(&form, &known[name]);
        }
    }
    text
}

/// A shell line as words; a text that is none stays whole.
fn split(text: &str) -> Vec<String> {
    if !text.contains("vllm") || !text.contains(char::is_whitespace) {
        return vec![text.to_owned()];
    }
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.replace("\\\n", " ").chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::input::parse;

    fn read(container: &str) -> Arguments {
        Arguments::of(&parse("a.yaml", container).unwrap())
    }

    #[test]
    fn options_are_read_in_every_form_that_people_write() {
        for container in [
            "{image: vllm/vllm-openai, args: [--model=m/x, --max-num-seqs=64, --enable-prefix-caching, --max-model-len, 16K]}",
            "{command: [vllm, serve, m/x], args: [--max_num_seqs, '64', --enable-prefix-caching, --max-model-len=16384]}",
            "{command: [/bin/sh, -c], args: ['vllm serve m/x --max-num-seqs 64 --enable-prefix-caching --max-model-len 16384']}",
            "{command: [bash, -c, \"python3 -m vllm.entrypoints.openai.api_server --model \\\"m/x\\\" --max-num-seqs=64 --enable-prefix-caching=True --max-model-len 16384 && sleep 1\"]}",
            "{image: vllm/vllm-openai, args: [m/x, --max-num-seqs, 64, --enable-prefix-caching, --max-model-len, $(LEN)], env: [{name: LEN, value: '16384'}]}",
        ] {
            let found = read(container);
            assert!(found.vllm, "{container}");
            assert_eq!(found.model(), Some("m/x"), "{container}");
            assert_eq!((found.count("max-num-seqs"), found.count("max-model-len")), (Some(64), Some(16_384)));
            assert_eq!(found.switch("enable-prefix-caching"), Some(true), "{container}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_none() {
        let found = read(
            "{image: vllm, args: [--max-num-seqs=-1, --gpu-memory-utilization=1.5, --max-model-len=auto]}",
        );
        assert_eq!((found.count("max-num-seqs"), found.count("max-model-len")), (None, None));
        assert_eq!(
            (found.share("gpu-memory-utilization"), found.switch("enable-prefix-caching")),
            (None, None)
        );
        assert_eq!(
            read("{image: vllm, args: [--no-enable-prefix-caching]}").switch("enable-prefix-caching"),
            Some(false)
        );
        assert_eq!(found.besides(&["max-num-seqs"]), ["gpu-memory-utilization", "max-model-len"]);
    }
}
