//! `config/default.toml`: every key with its default and its documentation as a comment.

use std::fmt::Write as _;

use super::{ConfigError, Settings};

const HEAD: &str = "\
# Every key of repserve, with its default. Written by `repserve config --default`; the program does not read this file.
# To change something: copy the lines you need into a file of your own (`repserve serve --config my.toml`), set a
# variable (REPSERVE__SERVER__LISTEN=0.0.0.0:8080) or a flag (`--listen`, or `--set server.listen=0.0.0.0:8080`).
# A flag wins over a variable, a variable over the file. `repserve config` prints what is in force and why.
";

/// The values of all keys, by section.
pub(super) fn default_values() -> Result<toml::Table, ConfigError> {
    toml::Table::try_from(Settings::default()).map_err(ConfigError::Defaults)
}

/// The text of `config/default.toml`.
///
/// # Errors
/// None as built: a test writes it.
pub fn default_toml() -> Result<String, ConfigError> {
    let values = default_values()?;
    let mut text = HEAD.to_owned();
    for section in Settings::sections() {
        text.push('\n');
        comment(&mut text, section.doc);
        let _ = writeln!(text, "[{}]", section.name);
        for key in &section.keys {
            comment(&mut text, key.doc);
            let _ = writeln!(text, "{} = {}", key.name, values[section.name][key.name]);
        }
    }
    Ok(text)
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "#{line}");
    }
}
