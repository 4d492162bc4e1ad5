#include "blip2/protocols/picture_fetch.h"

#include "blip2/protocols/local_picture_internal.h"
#include "blip2/protocols/picture_header.h"
#include "blip2/protocols/picture_url_internal.h"
#include "blip2/protocols/remote_picture_internal.h"

namespace blip2 {

void fetch_picture(PictureSource& picture, const PictureRules& rules, const FetchOptions& options) {
  if (picture.url.empty()) return;
  picture.bytes =
      has_scheme(picture.url, "file:")
          ? read_local_picture(picture.url, rules.media_root, rules.max_bytes, picture.param)
          : fetch_remote_picture(picture.url, rules, options, picture.param);
  check_picture(picture.bytes, rules, picture.param);
  picture.url.clear();
}

}  // namespace blip2
