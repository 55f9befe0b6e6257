use super::*;
use proptest::prelude::*;

fn evidence(images: usize, differing: usize) -> Evidence {
    let agreement = Agreement {
        images,
        top1_agreement: 1.0 - differing as f64 / images.max(1) as f64,
        ..Agreement::default()
    };
    Evidence {
        folds: 4,
        agreement,
        ..Evidence::default()
    }
}

fn labelled(images: usize, differing: usize, only_first: usize, only_second: usize) -> Evidence {
    let labelled = Paired {
        images,
        only_first,
        only_second,
    };
    Evidence {
        labelled,
        ..evidence(images, differing)
    }
}

#[track_caller]
fn check(evidence: &Evidence, verdict: Verdict, images_needed: Option<usize>) {
    let found = GateSettings::default().judge(evidence);
    assert_eq!(
        (found.verdict, found.images_needed),
        (verdict, images_needed),
        "{found:?}"
    );
}

#[test]
fn the_same_share_of_more_images_says_more() {
    check(&evidence(0, 0), Verdict::TooFewImages, Some(36));
    check(&evidence(10, 0), Verdict::TooFewImages, Some(36));
    check(&evidence(25, 0), Verdict::TooFewImages, Some(36));
    check(&evidence(36, 0), Verdict::Compatible, Some(183));
    check(&evidence(100, 0), Verdict::Compatible, Some(183));
    check(&evidence(183, 0), Verdict::Shown, None);
    check(&evidence(250, 0), Verdict::Shown, None);
    check(&evidence(1000, 0), Verdict::Shown, None);
}

#[test]
fn what_is_excluded_depends_on_how_many_images_there_are() {
    check(&evidence(10, 1), Verdict::TooFewImages, Some(36));
    check(&evidence(10, 2), Verdict::Excluded, None);
    check(&evidence(25, 3), Verdict::Excluded, None);
    for (images, most) in [(100, 5), (250, 10), (1000, 29)] {
        assert!(GateSettings::default().judge(&evidence(images, most)).verdict.admits());
        check(&evidence(images, most + 1), Verdict::Excluded, None);
    }
    check(&evidence(1000, 12), Verdict::Compatible, Some(1179));
    check(&evidence(1000, 11), Verdict::Shown, None);
}

#[test]
fn labels_admit_where_accuracy_is_kept() {
    check(&labelled(1000, 40, 15, 10), Verdict::AccuracyKept, None);
    check(&labelled(1000, 40, 20, 10), Verdict::AccuracyKept, None);
    check(&labelled(1000, 40, 21, 10), Verdict::Excluded, None);
    check(&labelled(1000, 40, 5, 20), Verdict::AccuracyKept, None);
    check(&labelled(20, 0, 0, 0), Verdict::TooFewImages, Some(36));
    let loss = GateSettings::default().judge(&labelled(1000, 40, 15, 10)).loss.unwrap();
    assert!(
        (loss.top1_loss - 0.005).abs() < 1e-9 && loss.interval.holds(0.005),
        "{loss:?}"
    );
}

#[test]
fn probabilities_that_are_far_or_no_numbers_are_refused() {
    for kl_divergence in [0.2, f64::NAN] {
        let mut far = labelled(1000, 0, 0, 0);
        far.agreement.kl_divergence = kl_divergence;
        check(&far, Verdict::Diverges, None);
    }
}

#[test]
fn an_agreement_of_one_is_never_shown() {
    let strict = GateSettings {
        top1_agreement_min: 1.0,
        ..GateSettings::default()
    };
    let of = |differing| strict.judge(&evidence(1000, differing));
    assert_eq!((of(0).verdict, of(0).images_needed), (Verdict::Compatible, None));
    assert_eq!(of(1).verdict, Verdict::Excluded);
    let lax = GateSettings {
        top1_agreement_min: 0.5,
        ..GateSettings::default()
    };
    assert_eq!(lax.images_min(), 6);
    assert_eq!(lax.judge(&evidence(10, 1)).verdict, Verdict::Shown);
    assert_eq!(GateSettings::open().judge(&evidence(3, 3)).verdict, Verdict::Shown);
}

#[test]
fn an_int8_graph_that_computes_something_else_here_is_refuted() {
    let gate = GateSettings::default();
    let of = |differing| evidence(8, differing).agreement;
    assert!(!gate.refutes(&of(0), &of(0)) && !gate.refutes(&of(1), &of(0)));
    assert!(gate.refutes(&of(2), &of(0)) && gate.refutes(&of(2), &of(1)));
    assert!(
        !gate.refutes(&of(2), &of(2)),
        "it did so when it was calibrated, and was admitted"
    );
    let far = Agreement {
        kl_divergence: f64::NAN,
        ..of(0)
    };
    assert!(gate.refutes(&far, &of(0)));
}

proptest! {
    #[test]
    fn one_more_that_agrees_never_turns_an_admitted_graph_away(images in 1usize..600, part in 0.0f64..0.1, min in 0.5f64..1.0) {
        let gate = GateSettings { top1_agreement_min: min, ..GateSettings::default() };
        let differing = (part * images as f64) as usize;
        let before = gate.judge(&evidence(images, differing));
        let after = gate.judge(&evidence(images + 1, differing));
        let fewer = gate.judge(&evidence(images, differing.saturating_sub(1)));
        if before.verdict.admits() {
            prop_assert!(fewer.verdict.admits());
            prop_assert!(after.verdict.admits());
        }
        if before.verdict == Verdict::Excluded {
            prop_assert!(!gate.judge(&evidence(images, differing + 1)).verdict.admits());
        }
    }
}
