# What gcr.io/distroless/cc holds: these packages unpacked, an unprivileged user, no shell, no package manager.
FROM debian:trixie-slim AS root
RUN apt-get update \
    && mkdir /debs /root-fs \
    && cd /debs \
    && apt-get download base-files ca-certificates gcc-14-base libc6 libgcc-s1 libgomp1 libssl3t64 libstdc++6 libzstd1 \
        media-types netbase tzdata zlib1g \
    && for deb in *.deb; do dpkg-deb -x "$deb" /root-fs; done \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
    && rm -rf /root-fs/usr/share/doc /root-fs/usr/share/man /root-fs/usr/share/ca-certificates /root-fs/usr/sbin \
    && find /root-fs/usr/bin -type f -delete \
    && echo 'root:x:0:0:root:/root:/sbin/nologin' >/root-fs/etc/passwd \
    && echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >>/root-fs/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' >/root-fs/etc/group \
    && mkdir -p /root-fs/home/nonroot /root-fs/tmp \
    && chown 65532:65532 /root-fs/home/nonroot \
    && chmod 1777 /root-fs/tmp

FROM scratch
COPY --from=root /root-fs /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532
WORKDIR /home/nonroot
