//! Layers of dotted keys: read from TOML, variables and flags, each value with its source, and laid over each other.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::Settings;
use super::source::{ConfigError, Source};

/// Prefix of the variables that set keys; `__` separates section and key.
pub(super) const VARIABLE_PREFIX: &str = "REPSERVE__";

/// Keys that have another name now: the old one, the new one.
const RENAMED: [(&str, &str); 1] = [("runtime.winograd", "runtime.kernels")];

/// The dotted key that an environment variable sets; `None` for those that are none of ours.
pub(super) fn key_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(VARIABLE_PREFIX)?;
    Some(rest.replace("__", ".").to_lowercase())
}

/// The environment variable that sets a dotted key.
fn variable_of_key(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// A value and where it came from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
    /// What it stands for, where the value leaves that open.
    pub in_force: Option<Value>,
}

/// Dotted keys and their values.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    entries: BTreeMap<String, Entry>,
}

impl Layers {
    /// The lowest layer: every key there is, by section.
    pub(super) fn defaults(values: &toml::Table) -> Self {
        let mut entries = BTreeMap::new();
        for (section, keys) in values {
            for (name, value) in keys.as_table().into_iter().flatten() {
                let entry = Entry {
                    value: value.clone(),
                    source: Source::Default,
                    in_force: None,
                };
                entries.insert(format!("{section}.{name}"), entry);
            }
        }
        Self { entries }
    }

    /// Lays a file's keys over what is there.
    pub(super) fn lay_file(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let file = TomlFile { text, path };
        let document = DeTable::parse(text).map_err(|error| file.syntax(&error))?;
        if let Some((key, offset, number)) = beyond_64_bits(document.get_ref(), "") {
            return Err(self.beyond_64_bits(key, file.source(offset), &number));
        }
        for (key, entry) in file.flatten(document.get_ref())? {
            self.set(key, entry)?;
        }
        Ok(())
    }

    /// Lays variables over what is there; those without the prefix are none of ours, unless they are a key's but for the number of
    /// underscores.
    pub(super) fn lay_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in variables {
            match key_of_variable(&name) {
                Some(key) => self.set_text(key, &text, Source::Variable(name))?,
                None => self.refuse_misspelt(name)?,
            }
        }
        Ok(())
    }

    fn refuse_misspelt(&self, name: String) -> Result<(), ConfigError> {
        let one_underscore = |text: &str| text.replace("__", "_").to_uppercase();
        let written = one_underscore(&name);
        let mut right = self.entries.keys().map(String::as_str).map(variable_of_key);
        match right.find(|right| one_underscore(right) == written) {
            Some(right) => Err(ConfigError::MisspeltVariable { name, right }),
            None => Ok(()),
        }
    }

    /// Sets a key from text, which is read as the type that the key has.
    pub(super) fn set_text(&mut self, key: String, text: &str, source: Source) -> Result<(), ConfigError> {
        let known = self.known(&key, &source)?;
        let value = from_text(&known.value, text)
            .map_err(|number| self.beyond_64_bits(key.clone(), source.clone(), &number))?;
        let in_force = None;
        self.set(
            key,
            Entry {
                value,
                source,
                in_force,
            },
        )
    }

    fn set(&mut self, key: String, mut entry: Entry) -> Result<(), ConfigError> {
        let known = self.known(&key, &entry.source)?;
        entry.value = fit(&known.value, entry.value).map_err(|found| {
            let kind = type_name(&found);
            let wants = wants(&key, known);
            ConfigError::refused(key.clone(), entry.source.clone(), &wants, format!("{kind} ({found})"))
        })?;
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Refuses a whole number that no key can have.
    fn beyond_64_bits(&self, key: String, source: Source, number: &str) -> ConfigError {
        match self.known(&key, &source) {
            Err(unknown) => unknown,
            Ok(known) => {
                let found = format!("a whole number beyond the range of 64 bits ({number})");
                ConfigError::refused(key.clone(), source, &wants(&key, known), found)
            }
        }
    }

    fn known(&self, key: &str, source: &Source) -> Result<&Entry, ConfigError> {
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == key) {
            return Err(ConfigError::Renamed {
                key: key.to_owned(),
                source_of: source.clone(),
                new,
            });
        }
        self.entries.get(key).ok_or_else(|| ConfigError::UnknownKey {
            key: key.to_owned(),
            source_of: source.clone(),
            hint: self.hint(key),
        })
    }

    /// What may be meant by a key that does not exist: the nearest one, else one of its section, else one of another section.
    fn hint(&self, key: &str) -> String {
        if let Some(near) = self.nearest(key) {
            return format!("did you mean `{near}`?");
        }
        let section = key.split('.').next().unwrap_or_default();
        let within = self.keys_of(section);
        if !within.is_empty() {
            let within = within.join(", ");
            return format!("[{section}] has the keys {within}; `repserve config --default` says what each is for");
        }
        let mut sections: Vec<&str> = self
            .entries
            .keys()
            .filter_map(|known| known.split('.').next())
            .collect();
        sections.dedup();
        let sections = sections.join(", ");
        format!("a key is `section.key`, of the sections {sections}; `repserve config --default` says what each is for")
    }

    /// The keys of a section, without its name.
    fn keys_of(&self, section: &str) -> Vec<&str> {
        let split = self.entries.keys().filter_map(|known| known.split_once('.'));
        split.filter(|(of, _)| *of == section).map(|(_, name)| name).collect()
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        let leaf = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
        self.entries
            .keys()
            .map(|known| {
                let whole = strsim::levenshtein(known, key);
                (if leaf(known) == leaf(key) { whole.min(1) } else { whole }, known)
            })
            .min()
            .filter(|(far, _)| *far <= 3)
            .map(|(_, known)| known.as_str())
    }

    /// Where the value in force came from.
    pub(super) fn source(&self, key: &str) -> Source {
        self.entries.get(key).map_or(Source::Default, |e| e.source.clone())
    }

    /// The value in force.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Notes what the value of `key` stands for, if that is another.
    pub fn note(&mut self, key: &str, in_force: impl Into<Value>) {
        let in_force = in_force.into();
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.value != in_force) {
            entry.in_force = Some(in_force);
        }
    }

    /// All keys in order, with what is in force.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The nested table that the keys describe.
    pub(super) fn table(&self) -> toml::Table {
        let mut root = toml::Table::new();
        for (key, entry) in &self.entries {
            let (section, leaf) = key.rsplit_once('.').unwrap_or(("", key));
            let mut table = &mut root;
            for part in section.split('.').filter(|p| !p.is_empty()) {
                let next = table.entry(part).or_insert_with(|| Value::Table(toml::Table::new()));
                match next {
                    Value::Table(inner) => table = inner,
                    _ => return root,
                }
            }
            table.insert(leaf.to_owned(), entry.value.clone());
        }
        root
    }
}

/// A configuration file.
#[derive(Clone, Copy)]
struct TomlFile<'a> {
    text: &'a str,
    path: &'a Path,
}

impl TomlFile<'_> {
    fn line(self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|b| *b == b'\n').count()
    }

    fn source(self, offset: usize) -> Source {
        Source::File {
            path: self.path.to_owned(),
            line: self.line(offset),
        }
    }

    fn syntax(self, error: &toml::de::Error) -> ConfigError {
        ConfigError::Syntax {
            path: self.path.to_owned(),
            line: self.line(error.span().map_or(0, |s| s.start)),
            message: error.message().replace('\n', ", "),
        }
    }

    /// Its keys, dotted, with their values.
    fn flatten(self, spans: &DeTable<'_>) -> Result<Vec<(String, Entry)>, ConfigError> {
        let values: toml::Table = toml::from_str(self.text).map_err(|error| self.syntax(&error))?;
        let mut out = Vec::new();
        walk(spans, &values, "", &mut |key, value, offset| {
            let entry = Entry {
                value: value.clone(),
                source: self.source(offset),
                in_force: None,
            };
            out.push((key, entry));
        });
        Ok(out)
    }
}

/// The first whole number of a document that is outside of the 64 bits, with sign, which TOML gives one: its key, where that stands, and the
/// number.
fn beyond_64_bits(table: &DeTable<'_>, prefix: &str) -> Option<(String, usize, String)> {
    table.iter().find_map(|(key, value)| {
        let dotted = join(prefix, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => beyond_64_bits(inner, &dotted),
            value => Some((dotted, Spanned::span(key).start, number_beyond_64_bits(value)?)),
        }
    })
}

fn number_beyond_64_bits(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => {
            let fits = i64::from_str_radix(number.as_str(), number.radix()).is_ok();
            (!fits).then(|| number.to_string())
        }
        DeValue::Array(elements) => elements.iter().find_map(|each| number_beyond_64_bits(each.get_ref())),
        DeValue::Table(table) => beyond_64_bits(table, "").map(|(.., number)| number),
        _ => None,
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn walk(spans: &DeTable<'_>, values: &toml::Table, prefix: &str, visit: &mut impl FnMut(String, &Value, usize)) {
    for (key, spanned) in spans {
        let name = key.get_ref().as_ref();
        let dotted = join(prefix, name);
        match (spanned.get_ref(), values.get(name)) {
            (DeValue::Table(inner), Some(Value::Table(table))) => walk(inner, table, &dotted, visit),
            (_, Some(value)) => visit(dotted, value, Spanned::span(key).start),
            (_, None) => {}
        }
    }
}

/// What a text stands for where the value `known` is.
///
/// # Errors
/// A whole number beyond 64 bits.
fn from_text(known: &Value, text: &str) -> Result<Value, String> {
    let string = || Value::String(text.to_owned());
    if matches!(known, Value::String(_)) {
        return Ok(string());
    }
    let document = format!("v = {}", text.trim());
    let beyond = DeTable::parse(&document)
        .ok()
        .and_then(|table| beyond_64_bits(table.get_ref(), ""));
    if let Some((.., number)) = beyond {
        return Err(number);
    }
    let parsed = toml::from_str::<toml::Table>(&document).ok();
    Ok(parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(string))
}

/// What a key takes, in words.
fn wants(key: &str, known: &Entry) -> String {
    Settings::wants(key).unwrap_or_else(|| type_name(&known.value).to_owned())
}

/// The value as the type that the key has, or as it was where it is of another.
fn fit(known: &Value, value: Value) -> Result<Value, Value> {
    match (known, value) {
        (Value::Float(_), Value::Integer(i)) => Ok(Value::Float(i as f64)),
        (known, value) if known.same_type(&value) => Ok(value),
        (_, value) => Err(value),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}
