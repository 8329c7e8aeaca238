vcl 4.1;

# Varnish in front: it keeps what it has fetched, and asks again by the ETag when that
# has grown old.
#
#   sendfile-serve /srv/www --client-address x-forwarded-for --trusted-proxy 127.0.0.1

backend site {
    .host = "127.0.0.1";
    .port = "8080";
}

sub vcl_backend_response {
    set beresp.ttl = 10m;
    # For so long what is old may still be confirmed, or shown while it is fetched anew.
    set beresp.keep = 1h;
    set beresp.grace = 10s;
}
