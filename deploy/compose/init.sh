#!/bin/sh
# Makes what one authority and its sidecars need to know each other, once, into the folder "$1": an authority of
# certificates, a certificate for each server, the sidecars' secret, and the authority's configuration with its hash.
# For trying Mandate out: what certifies your servers, and where their secrets are kept, is yours to choose.
#   sh init.sh <folder> <authority.yaml> <name>...
set -eu
umask 077
out=$1 template=$2
shift 2
[ ! -e "$out/done" ] || exit 0
mkdir -p "$out"
cd "$out"

new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.crt -days 3650 -subj /CN=mandate-compose 2>/dev/null
for name in "$@"; do
  mkdir -p "$name"
  openssl req -new $new -keyout "$name/tls.key" -out "$name/tls.csr" -subj "/CN=$name" 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$name" > "$name/ext"
  openssl x509 -req -in "$name/tls.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile "$name/ext" \
    -out "$name/tls.crt" 2>/dev/null
  rm "$name/tls.csr" "$name/ext"
  cp ca.crt "$name/ca.crt"
done

openssl rand -hex 32 | tr -d '\n' > secret
hash=$(openssl dgst -sha256 -r secret | cut -d ' ' -f 1)
for name in "$@"; do
  [ "$name" = authority ] || cp secret "$name/secret"
done
sed "s/@SIDECARS@/$hash/" "$template" > authority/mandate.yaml
# As root in a container: each server reads its own folder, as the image's user.
[ "$(id -u)" -ne 0 ] || for name in "$@"; do chown -R "${SERVER_USER:-65532}" "$name"; done
chmod 755 .
touch done
