//! Pictures that are small on the wire and large in memory.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};

use crate::support::cgroup::Cgroup;
use crate::support::process::Process;
use crate::support::{beside, client, costly, images, tar};

/// Clients at one time.
const CLIENTS: usize = 64;
/// Requests of each.
const REQUESTS: usize = 2;
/// Responses that may come: predictions, refusals for good and for now. A 500 is none of them.
const ANSWERS: [u16; 9] = [200, 400, 408, 413, 415, 422, 429, 503, 504];
/// The longest that one request may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A mix in which every kind of picture costs much for its size.
fn mix() -> Vec<Vec<u8>> {
    use png::{BitDepth::*, ColorType::*};
    use tiff::encoder::colortype as tiff_colour;

    let mut files = vec![
        costly::png(7071, 7071, Rgba, Sixteen, false),
        costly::png(4000, 2500, Rgb, Eight, true),
        costly::webp(7000, 7000),
        costly::webp(3000, 2500),
        costly::webp_lossy(3000, 2500),
        costly::webp_of_other_sides(16_000, 16_000),
        costly::gif(4000, 3000),
        costly::tiff::<tiff_colour::Gray32Float>(4000, 3000, 0.0),
        costly::tiff::<tiff_colour::RGBA32Float>(1500, 1000, 0.0),
        costly::tiff::<tiff_colour::RGBA16>(4000, 3000, 0),
        costly::bmp(1800, 1800),
        padded(costly::jpeg(3000, 2000), 9 << 20),
        #[cfg(feature = "jpeg-turbo")]
        costly::progressive(4000, 3000),
    ];
    if let Some(archive) = beside("hostile/corpora.tar") {
        let odd = tar::files(&archive).into_iter().map(|(_, file)| file);
        files.extend(odd.filter(|file| !file.is_empty()).step_by(11));
    }
    files
}

/// A JPEG with a comment that makes it as large as that.
fn padded(jpeg: Vec<u8>, bytes: usize) -> Vec<u8> {
    let mut file = jpeg[..2].to_vec();
    while file.len() + jpeg.len() < bytes {
        file.extend([0xff, 0xfe, 0xff, 0xff]);
        file.resize(file.len() + 0xfffd, b' ');
    }
    file.extend(&jpeg[2..]);
    file
}

async fn classify(client: &Client, process: &Process, image: Vec<u8>) -> reqwest::Result<StatusCode> {
    let url = format!("http://{}/classify", process.address);
    let request = client
        .post(url)
        .header("content-type", "image/x")
        .body(image)
        .timeout(PATIENCE);
    Ok(request.send().await?.status())
}

/// 64 clients with the mix; how often each response came.
async fn attack(process: &Process) -> std::collections::BTreeMap<u16, usize> {
    let (mix, client) = (mix(), client());
    let clients = (0..CLIENTS).map(|first| {
        let (mix, client) = (&mix, &client);
        async move {
            let mut responses = Vec::new();
            for request in 0..REQUESTS {
                let image = mix[(first + request * CLIENTS) % mix.len()].clone();
                responses.push(classify(client, process, image).await.expect("a response").as_u16());
            }
            responses
        }
    });
    let mut counts = std::collections::BTreeMap::new();
    for response in futures_util::future::join_all(clients).await.into_iter().flatten() {
        *counts.entry(response).or_default() += 1;
    }
    counts
}

/// Attacks a server of default settings in a cgroup of so many megabytes.
async fn survives(megabytes: u64) {
    let limit = megabytes << 20;
    let group = Cgroup::new(limit);
    let process = match &group {
        Some(group) => Process::start_within(group, &[]).await,
        None => {
            let decode = format!("limits.decode_bytes_max={}", limit / 8 * 3);
            let bodies = (limit / 8).min(256 << 20);
            let bodies = format!("limits.bodies_bytes_max={bodies}");
            let request = format!("limits.request_bytes_max={}", (limit / 8).min(64 << 20));
            Process::start(&[&decode, &request, &bodies]).await
        }
    };
    let idle = process.resident_bytes();
    let counts = attack(&process).await;
    let peak = process.peak_bytes();
    eprintln!(
        "{megabytes} MiB: {} MB at rest, {} MB at the peak, responses {counts:?}",
        idle / 1_000_000,
        peak / 1_000_000
    );
    assert_eq!(group.as_ref().map_or(0, Cgroup::killed), 0);
    assert!(peak <= limit, "{peak} bytes of {limit}");
    let unexpected: Vec<_> = counts.keys().filter(|status| !ANSWERS.contains(status)).collect();
    assert!(unexpected.is_empty(), "{counts:?}");
    assert!(counts.contains_key(&200), "nothing was classified: {counts:?}");
    let status = classify(&client(), &process, images::png(1)).await.unwrap();
    assert_eq!(status, 200, "it serves on");
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_pictures_do_not_kill_a_server_of_512_mb() {
    survives(512).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_pictures_do_not_kill_a_server_of_1_gb() {
    survives(1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_pictures_do_not_kill_a_server_of_300_mb() {
    survives(300).await;
}

/// One form with `count` parts of the same file.
fn form(file: &[u8], count: usize) -> reqwest::multipart::Form {
    (0..count).fold(reqwest::multipart::Form::new(), |form, index| {
        form.part(format!("image{index}"), reqwest::multipart::Part::bytes(file.to_vec()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_64_huge_pictures_is_refused_before_any_is_decoded() {
    let process = Process::start(&[]).await;
    let client = client();
    let url = format!("http://{}/classify", process.address);
    let began = Instant::now();
    let huge = form(&costly::webp(7000, 7000), 64);
    let response = client
        .post(&url)
        .multipart(huge)
        .timeout(PATIENCE)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    let text = response.text().await.unwrap();
    assert!(text.contains("limits.request_pixels_max"), "{text}");
    // Decoding them takes a minute and a half of a core.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_does_not_wait_for_another_clients_large_request() {
    let process = Process::start(&["server.request_timeout_ms=120000"]).await;
    let client = client();
    let url = format!("http://{}/classify", process.address);
    // Its pictures take much longer together than the photo alone.
    let large = form(&costly::webp(2000, 1000), 60);
    let large = tokio::spawn(client.post(&url).multipart(large).timeout(PATIENCE).send());
    while process.metric("repserve_queue_depth").await == 0.0 && !large.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let photo = classify(&client, &process, images::png(7)).await.unwrap();
    assert_eq!(photo, 200);
    assert!(!large.is_finished(), "the photo came after all of the large request");
    assert_eq!(large.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_photos_of_twelve_megapixels_pass() {
    let process = Process::start(&[]).await;
    let url = format!("http://{}/classify", process.address);
    let photos = form(&costly::jpeg_of_little_detail(4000, 3000), 64);
    let response = client()
        .post(&url)
        .multipart(photos)
        .timeout(PATIENCE)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}
