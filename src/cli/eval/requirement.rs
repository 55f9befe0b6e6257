//! What must hold for exit code 0: `[VARIANT.]MEASURE OPERATOR NUMBER`.

use super::document::{Compared, Document, VariantFound};

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Requirement {
    /// As it was written.
    text: String,
    /// The variant that it is about; every one where `None`.
    variant: Option<String>,
    measure: Measure,
    operator: Operator,
    bound: f64,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Top1,
    Top5,
    Balanced,
    CalibrationError,
    Agreement,
    Top1Loss,
    ImagesPerS,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    Above,
    Below,
}

const MEASURES: [(&str, Measure); 7] = [
    ("top1", Measure::Top1),
    ("top5", Measure::Top5),
    ("balanced", Measure::Balanced),
    ("calibration_error", Measure::CalibrationError),
    ("agreement", Measure::Agreement),
    ("top1_loss", Measure::Top1Loss),
    ("images_per_s", Measure::ImagesPerS),
];

/// Two characters before one, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 4] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::Above),
    ("<", Operator::Below),
];

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Requirement, String> {
    let split = |(sign, operator): &(&str, Operator)| {
        let (left, right) = text.split_once(sign)?;
        Some((left.trim(), *operator, right.trim()))
    };
    let (left, operator, right) = OPERATORS
        .iter()
        .find_map(split)
        .ok_or("must be MEASURE>=NUMBER, or with <=, > or <")?;
    let (variant, name) = match left.rsplit_once('.') {
        Some((variant, name)) => (Some(variant.to_owned()), name),
        None => (None, left),
    };
    let known = MEASURES.iter().find(|(known, _)| *known == name);
    let measure = known.map(|(_, measure)| *measure).ok_or_else(|| {
        let names: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })?;
    let bound = right.parse::<f64>().ok().filter(|bound| bound.is_finite());
    Ok(Requirement {
        text: text.to_owned(),
        variant,
        measure,
        operator,
        bound: bound.ok_or_else(|| format!("{right:?} is no number"))?,
    })
}

impl Requirement {
    /// A line for each variant, or pair of variants, that does not meet it; one where there is none that could.
    pub(super) fn unmet(&self, document: &Document) -> Vec<String> {
        let mut found: Vec<(String, Option<f64>)> = Vec::new();
        if matches!(self.measure, Measure::Agreement | Measure::Top1Loss) {
            let of = document.comparisons.iter().filter(|c| self.is_about(&c.second));
            found.extend(of.map(|c| (format!("{} and {}", c.first, c.second), self.of_pair(c))));
        } else {
            let of = document.variants.iter().filter(|v| self.is_about(&v.name));
            found.extend(of.map(|v| (v.name.clone(), self.of_variant(v))));
        }
        if found.is_empty() {
            return vec![format!(
                "not met: {}: there is no such variant, or nothing to compare it with",
                self.text
            )];
        }
        let line = |(name, value): (String, Option<f64>)| match value {
            Some(value) if self.operator.holds(value, self.bound) => None,
            Some(value) => Some(format!("not met: {}: {name} has {value:.4}", self.text)),
            None => Some(format!("not met: {}: no image has a label", self.text)),
        };
        found.into_iter().filter_map(line).collect()
    }

    fn is_about(&self, name: &str) -> bool {
        self.variant.as_deref().is_none_or(|variant| variant == name)
    }

    fn of_variant(&self, found: &VariantFound) -> Option<f64> {
        let accuracy = found.accuracy.as_ref();
        match self.measure {
            Measure::Top1 => Some(accuracy?.top1.share),
            Measure::Top5 => Some(accuracy?.top5.share),
            Measure::Balanced => Some(accuracy?.balanced),
            Measure::CalibrationError => Some(accuracy?.reliability.expected_error),
            Measure::ImagesPerS => Some(found.images_per_s),
            Measure::Agreement | Measure::Top1Loss => None,
        }
    }

    fn of_pair(&self, compared: &Compared) -> Option<f64> {
        match self.measure {
            Measure::Agreement => Some(compared.comparison.agreement.share),
            _ => Some(-compared.comparison.accuracy.as_ref()?.difference),
        }
    }
}

impl Operator {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => value >= bound,
            Self::AtMost => value <= bound,
            Self::Above => value > bound,
            Self::Below => value < bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_name_a_measure_and_perhaps_a_variant() {
        let check = |text: &str, variant: Option<&str>, measure, operator, bound| {
            let found = parse(text).unwrap();
            assert_eq!(found.variant.as_deref(), variant);
            assert_eq!((found.measure, found.operator, found.bound), (measure, operator, bound));
        };
        check("top1>=0.80", None, Measure::Top1, Operator::AtLeast, 0.8);
        check(
            " int8.top1_loss < 0.01 ",
            Some("int8"),
            Measure::Top1Loss,
            Operator::Below,
            0.01,
        );
        check(
            "models/a.b.agreement<=1",
            Some("models/a.b"),
            Measure::Agreement,
            Operator::AtMost,
            1.0,
        );
        for (text, error) in [
            ("top1", "must be MEASURE>=NUMBER, or with <=, > or <"),
            ("top2>=1", "\"top2\" is none of top1, top5, balanced"),
            ("top1>=x", "\"x\" is no number"),
            ("top1>=nan", "\"nan\" is no number"),
        ] {
            assert!(parse(text).unwrap_err().starts_with(error), "{text}");
        }
    }
}
