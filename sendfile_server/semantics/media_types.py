"""Media types by file name extension.

The table ships with the package: the operating system's differs from machine to
machine, and where it calls JavaScript text/plain, pages stay blank. Registered
names (IANA) win over folk names; text/javascript is RFC 9239.
"""

import re
from collections.abc import Mapping

UNKNOWN = b"application/octet-stream"

_TABLE = """
    application/atom+xml            atom
    application/dash+xml            mpd
    application/epub+zip            epub
    application/geo+json            geojson
    application/gzip                gz tgz
    application/java-archive        jar
    application/json                json map
    application/ld+json             jsonld
    application/manifest+json       webmanifest
    application/msword              doc
    application/pdf                 pdf
    application/pgp-signature       asc sig
    application/postscript          ps eps ai
    application/rss+xml             rss
    application/rtf                 rtf
    application/sql                 sql
    application/toml                toml
    application/vnd.android.package-archive  apk
    application/vnd.apple.mpegurl   m3u8
    application/vnd.debian.binary-package    deb
    application/vnd.ms-excel        xls
    application/vnd.ms-fontobject   eot
    application/vnd.ms-powerpoint   ppt
    application/vnd.oasis.opendocument.presentation  odp
    application/vnd.oasis.opendocument.spreadsheet   ods
    application/vnd.oasis.opendocument.text          odt
    application/vnd.openxmlformats-officedocument.presentationml.presentation  pptx
    application/vnd.openxmlformats-officedocument.spreadsheetml.sheet          xlsx
    application/vnd.openxmlformats-officedocument.wordprocessingml.document    docx
    application/vnd.rar             rar
    application/vnd.sqlite3         sqlite sqlite3
    application/wasm                wasm
    application/x-7z-compressed     7z
    application/x-bittorrent        torrent
    application/x-bzip2             bz2
    application/x-iso9660-image     iso
    application/x-rpm               rpm
    application/x-sh                sh
    application/x-tar               tar
    application/x-x509-ca-cert      crt der pem
    application/x-xz                xz
    application/xhtml+xml           xhtml
    application/xml                 xml xsd
    application/xslt+xml            xsl xslt
    application/yaml                yaml yml
    application/zip                 zip
    application/zstd                zst
    audio/aac                       aac
    audio/flac                      flac
    audio/matroska                  mka
    audio/midi                      mid midi
    audio/mp4                       m4a
    audio/mpeg                      mp3
    audio/ogg                       oga ogg opus
    audio/wav                       wav
    audio/webm                      weba
    font/collection                 ttc
    font/otf                        otf
    font/ttf                        ttf
    font/woff                       woff
    font/woff2                      woff2
    image/apng                      apng
    image/avif                      avif
    image/bmp                       bmp
    image/gif                       gif
    image/heic                      heic
    image/jpeg                      jpg jpeg jpe
    image/jxl                       jxl
    image/png                       png
    image/svg+xml                   svg
    image/tiff                      tif tiff
    image/vnd.microsoft.icon        ico cur
    image/webp                      webp
    model/gltf-binary               glb
    model/gltf+json                 gltf
    model/stl                       stl
    text/calendar                   ics
    text/css                        css
    text/csv                        csv
    text/html                       html htm
    text/javascript                 js mjs
    text/markdown                   md markdown
    text/plain                      txt text log conf ini
    text/tab-separated-values       tsv
    text/vcard                      vcf
    text/vtt                        vtt
    video/3gpp                      3gp
    video/matroska                  mkv
    video/mp2t                      ts
    video/mp4                       mp4 m4v
    video/mpeg                      mpeg mpg
    video/ogg                       ogv
    video/quicktime                 mov
    video/webm                      webm
    video/x-flv                     flv
    video/x-msvideo                 avi
"""

_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:[ \t]*;[\t\x20-\x7e]+)?"
)


def is_media_type(value: str) -> bool:
    """Tell whether *value* can stand in Content-Type (RFC 9110 section 8.3.1)."""
    return _MEDIA_TYPE.fullmatch(value) is not None


def build_table(overrides: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return Content-Type values by lower-case extension, without its dot.

    *overrides* come last and win. Text without a charset is said to be UTF-8.
    """
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    table = {extension: row[0] for row in rows for extension in row[1:]}
    table |= {extension.lower(): kind for extension, kind in overrides.items()}
    return {
        # As a file name that is no UTF-8 comes from a command line (PEP 383).
        key.encode(errors="surrogateescape"): _content_type(kind)
        for key, kind in table.items()
    }


def media_type_of(name: bytes, table: Mapping[bytes, bytes]) -> bytes:
    """Return the Content-Type of a file called *name*; octets if nothing is known."""
    _, dot, extension = name.rpartition(b".")
    return table.get(extension.lower(), UNKNOWN) if dot else UNKNOWN


def _content_type(kind: str) -> bytes:
    has_charset = ";" in kind or not kind.startswith("text/")
    return (kind if has_charset else kind + "; charset=utf-8").encode()
