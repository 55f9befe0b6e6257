//! What a `calibration.json` says when it is wrong, and that what is written is read again.

use super::*;

pub(crate) fn example() -> Calibration {
    Calibration {
        format: FORMAT,
        written_by: "repserve".into(),
        quantized_sums: true,
        int8_share: Some(0.9),
        method: "words".into(),
        model_sha256: "00".into(),
        images: Images {
            count: 4,
            sha256: "11".into(),
        },
        equalization_power: 0.5,
        range_power: 2.0,
        evidence: Evidence::default(),
        ranges: vec![ValueRange {
            value: "input".into(),
            range: Range { low: -2.0, high: 2.5 },
        }],
        layers: vec![LayerRecord {
            layer: "relu".into(),
            precision: Precision::Int8,
            snr_db: 33.5,
            gain_if_fp32_db: None,
            equalization: vec![-4, 0, 7],
            bias_correction: vec![0.5, -0.25, 0.125],
            rounding: "AAA=".into(),
            returns: Returns::Fp32,
            channels_16_bit: vec![0, 2],
            noise: Vec::new(),
        }],
        gate: GateImages {
            source: "calibrated on".into(),
            agreement: Agreement::default(),
            images: vec!["AAAA".repeat(40)],
        },
    }
}

#[test]
fn what_is_written_is_read_again() {
    let text = example().to_text();
    assert_eq!(Calibration::parse(&text).unwrap(), example());
    assert!(
        text.contains("\n    {\"value\":\"input\",\"low\":-2.0,\"high\":2.5}\n"),
        "{text}"
    );
    assert!(text.contains("\"equalization\":\"/AAH\""), "{text}");
    assert!(text.contains("\"channels_16_bit\":\"0 2\""), "{text}");
    for wrong in ["2 0", "0 0", "-1", "x"] {
        assert!(
            Calibration::parse(&text.replace("\"0 2\"", &format!("{wrong:?}"))).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn whole_powers_of_two_of_format_2_are_read() {
    let text = example().to_text().replace("\"format\": 4", "\"format\": 2");
    let of = |digits: &str| Calibration::parse(&text.replace("/AAH", digits));
    let read = of("457").unwrap();
    assert!(!read.quantized_sums);
    assert_eq!((read.format, &read.layers[0].equalization[..]), (4, &[-4, 0, 8][..]));
    assert_eq!(of("0a5").unwrap().layers[0].equalization, [-20, 20, 0]);
    let error = of("45b").unwrap_err().to_string();
    assert!(
        error.contains("'b' is no exponent; each is one of 0 to 9 and a"),
        "{error}"
    );
}

#[track_caller]
fn check(from: &str, to: &str, message: &str) {
    let text = example().to_text();
    assert!(text.contains(from), "{text}");
    let error = Calibration::parse(&text.replace(from, to)).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn numbers_are_written_as_short_as_they_can_be() {
    let mut shorter = example();
    shorter.ranges[0].range.low = -0.1;
    assert!(shorter.to_text().contains("\"low\":-0.1,"), "{}", shorter.to_text());
}

#[test]
fn a_layer_that_is_there_twice_is_refused() {
    let mut twice = example();
    twice.layers.push(twice.layers[0].clone());
    let error = Calibration::parse(&twice.to_text()).unwrap_err().to_string();
    assert_eq!(error, "calibration.json: the layer \"relu\" is there twice");
}

#[test]
fn a_calibration_belongs_to_one_file() {
    assert!(example().check_model("00").is_ok());
    let error = example().check_model("ab").unwrap_err().to_string();
    assert!(
        error.contains("made for another model (SHA-256 00…, and this one has ab…)"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_named() {
    check(
        "\"format\": 4",
        "\"format\": 1",
        "it has format 1, and this program reads formats 2, 3 and 4; run `repserve calibrate` again",
    );
    check("\"format\": 4,", "", "it has no format");
    check(
        "\"low\":-2.0",
        "\"low\":2.0",
        "the range 2 to 2.5 of \"input\" does not hold zero",
    );
    check("\"method\"", "\"methods\"", "unknown field `methods`");
    check("\"int8\"", "\"int4\"", "unknown variant `int4`");
    check("\"/AAH\"", "\"/AAV\"", "an exponent of \"relu\" is beyond ±20 quarters");
    check("\"/AAH\"", "\"?\"", "exponents are signed bytes in base64");
    check(
        "\"bias_correction\":\"-",
        "\"bias_correction\":\"-9",
        "not an exponent, a colon",
    );
    check("]", "", "expected");
}

#[test]
fn format_3_in_which_nothing_is_finer_is_read() {
    let mut before = example();
    before.layers[0].returns = Returns::Uint8;
    before.layers[0].channels_16_bit.clear();
    let text = before.to_text();
    assert!(!text.contains("returns") && !text.contains("channels_16_bit"), "{text}");
    let read = Calibration::parse(&text.replace("\"format\": 4", "\"format\": 3")).unwrap();
    assert_eq!(read, before);
}
