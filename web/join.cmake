# cmake -DSOURCE=web -DOUTPUT=folder -DPARTS=script;… -P join.cmake
#   Writes OUTPUT/index.html, the page with its style and scripts inside, OUTPUT/policy.txt, its
#   Content-Security-Policy, and OUTPUT/page.cpp, which has both as bytes.

# Sets RESULT to the base64 form of an even number of hexadecimal digits.
function(base64_of_hex result hex)
  set(letters ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
  string(LENGTH ${hex} length)
  math(EXPR missing "(6 - ${length} % 6) % 6")
  string(REPEAT 0 ${missing} zeros)
  string(APPEND hex ${zeros})
  set(text "")
  while(hex)
    string(SUBSTRING ${hex} 0 3 digits)  # 12 bits, two letters
    string(SUBSTRING ${hex} 3 -1 hex)
    math(EXPR high "0x${digits} >> 6")
    math(EXPR low "0x${digits} & 63")
    string(SUBSTRING ${letters} ${high} 1 high)
    string(SUBSTRING ${letters} ${low} 1 low)
    string(APPEND text ${high}${low})
  endwhile()
  math(EXPR padding "${missing} / 2")
  string(LENGTH ${text} length)
  math(EXPR length "${length} - ${padding}")
  string(SUBSTRING ${text} 0 ${length} text)
  string(REPEAT = ${padding} end)
  set(${result} ${text}${end} PARENT_SCOPE)
endfunction()

# Sets RESULT to the policy's source expression for an inline text.
function(hash_source result text)
  string(SHA256 hex "${text}")
  base64_of_hex(base64 ${hex})
  set(${result} "'sha256-${base64}'" PARENT_SCOPE)
endfunction()

file(READ ${SOURCE}/style.css style)
set(script "")
foreach(part ${PARTS})
  file(READ ${part} text)
  string(APPEND script "${text}\n")
endforeach()
if("${script}${style}" MATCHES "</(script|style)|<!--|\\)blip2_page")
  message(FATAL_ERROR "web/: ${CMAKE_MATCH_0} in a script or the style would end it")
endif()
hash_source(script_hash "${script}")
hash_source(style_hash "${style}")

file(READ ${SOURCE}/index.html page)
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
set(policy "default-src 'none'; script-src ${script_hash}; style-src ${style_hash}; img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")

file(READ ${SOURCE}/page.cpp.in source)
string(REPLACE "@POLICY@" "${policy}" source "${source}")
string(REPLACE "@PAGE@" "${page}" source "${source}")
file(WRITE ${OUTPUT}/index.html "${page}")
file(WRITE ${OUTPUT}/policy.txt "${policy}")
file(WRITE ${OUTPUT}/page.cpp "${source}")
