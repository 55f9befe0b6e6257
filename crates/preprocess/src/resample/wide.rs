//! Runs plain loops as the compiler makes them for AVX2 where the processor has it; the results are the same integers.
#![allow(
    unsafe_code,
    reason = "a function for a processor feature is unsafe to call where the compiler cannot know that the feature is there"
)]

/// Runs `work`. What it calls becomes AVX2 code if it is inlined into it.
#[inline(always)]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as has just been checked.
        return unsafe { with_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}
