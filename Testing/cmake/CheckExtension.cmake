# What Slicer wants to know before it packages an extension.
foreach(name HOMEPAGE CATEGORY CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS
    RECOMMENDS)
  if("${EXTENSION_${name}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${name} is empty")
  endif()
endforeach()
foreach(name README_FILE LICENSE_FILE)
  if(NOT EXISTS "${EXTENSION_${name}}")
    message(FATAL_ERROR "EXTENSION_${name} points to no file: ${EXTENSION_${name}}")
  endif()
endforeach()
