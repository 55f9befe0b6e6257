//! The frame of a report.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: [&str; 2] = [include_str!("../../style/colours.css"), include_str!("page.css")];

/// A whole page. Nothing is loaded from elsewhere, and the page's own policy forbids it.
pub(super) fn page(title: &str, subtitle: &str, body: &Markup) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE.concat())) }
            }
            body {
                header {
                    h1 { (title) }
                    p.quiet { (subtitle) " · repserve " (env!("CARGO_PKG_VERSION")) }
                }
                main { (body) }
            }
        }
    };
    page.into_string()
}

/// A part of a page under a heading.
pub(super) fn section(id: &str, heading: &str, body: &Markup) -> Markup {
    html! {
        section id=(id) {
            h2 { (heading) }
            (body)
        }
    }
}

/// A share as per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A count with a point every three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_is_escaped() {
        let text = page("<script>&", "\"x\"", &section("a", "</h2>", &html! { "<b>" }));
        assert!(!text.contains("<script>") && !text.contains("</h2></h2>") && !text.contains("<b>"));
        assert!(text.contains("&lt;script&gt;&amp;"), "{text}");
    }

    #[test]
    fn counts_have_a_comma_every_three_digits() {
        let check = |number, text: &str| assert_eq!(count(number), text);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(1_234_567, "1,234,567");
    }
}
