# Debian's next release has the version that the compose files pin. A frozen mirror's index may be past its date.
FROM debian:trixie-slim
RUN sed -i 's/trixie/forky/' /etc/apt/sources.list \
    && apt-get -o Acquire::Check-Valid-Until=false update \
    && apt-get install -y --no-install-recommends nginx-light curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 101 nginx && useradd --uid 101 --gid 101 --no-create-home --shell /usr/sbin/nologin nginx
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
